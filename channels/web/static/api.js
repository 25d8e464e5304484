// Requests to the gateway: with the proof that they come from this page, and with answers in one form.

const meta = (name) => document.querySelector(`meta[name="laneway-${name}"]`)?.content ?? "";
const csrf = meta("csrf");
export const homeKey = meta("key");
export const position = meta("position");

// The gateway can't be reached: whatever was asked may have been done, or not.
export class Offline extends Error {}

async function ask(url, options) {
  let response;
  try {
    response = await fetch(url, { credentials: "same-origin", ...options });
  } catch (error) {
    throw new Offline("the gateway can't be reached", { cause: error });
  }
  if (response.status === 401) { // the door is shown in the page's place
    location.reload();
    throw new Offline("you are signed out");
  }
  return response;
}

// A page or a piece of one as text; null: it is as it was.
export async function getText(url, etag) {
  const response = await ask(url, { headers: etag ? { "If-None-Match": etag } : {}, cache: "no-store" });
  if (response.status === 304) return null;
  if (!response.ok) throw new Error(await reason(response));
  return { text: await response.text(), etag: response.headers.get("ETag") };
}

export async function getJson(url) {
  const response = await ask(url, { cache: "no-store" });
  if (!response.ok) throw new Error(await reason(response));
  return response.json();
}

// {ok, status, data, text}: `text` is the sentence to show if it was refused.
export async function post(url, body = {}) {
  return sent(url, { "Content-Type": "application/json" }, JSON.stringify(body));
}

export async function upload(url, file) {
  return sent(url, { "Content-Type": file.type || "application/octet-stream" }, file);
}

async function sent(url, headers, body) {
  const response = await ask(url, { method: "POST", headers: { ...headers, "X-Laneway-CSRF": csrf }, body });
  if (!response.ok) return { ok: false, status: response.status, data: null, text: await reason(response) };
  const data = await response.json();
  return { ok: true, status: response.status, data, text: data.text ?? "" };
}

async function reason(response) {
  try {
    const { error } = await response.json();
    return error.hint ? `${error.message} (${error.hint})` : error.message;
  } catch {
    return `the gateway answered with status ${response.status}`;
  }
}

// A random id, also where the browser has no `randomUUID`: on a page that came without TLS.
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
