// Every page: the live connection, live pieces, buttons that do something, the command box, light and dark.

import { homeKey, newId, Offline, post } from "./api.js";
import { refresh, soon, stir, stirAll } from "./fragments.js";
import { listen as commandBox } from "./palette.js";
import { connect } from "./stream.js";
import { fill, keepTime } from "./time.js";

export const chatting = document.body.classList.contains("chatting");
const hooks = { partial: () => {}, stir: () => {}, sync: () => {}, say: null, state: () => {} };

// What the chat's own script does with what comes.
export function handle(more) { Object.assign(hooks, more); }

// ---- words to the reader

const toasts = document.getElementById("toasts");

export function toast(text, tone = "") {
  const line = document.createElement("p");
  line.className = `toast ${tone}`;
  line.textContent = text;
  toasts.append(line);
  while (toasts.children.length > 4) toasts.firstChild.remove();
  setTimeout(() => line.remove(), 6000);
}

export function sure(text) {
  return new Promise((resolve) => {
    const box = document.createElement("dialog");
    box.className = "ask";
    box.innerHTML = '<p></p><form method="dialog" class="row end"><button value="">Cancel</button><button class="danger" value="yes">Yes</button></form>';
    box.querySelector("p").textContent = text;
    box.setAttribute("aria-label", text);
    box.addEventListener("close", () => { box.remove(); resolve(box.returnValue === "yes"); });
    document.body.append(box);
    box.showModal();
  });
}

// ---- buttons and forms

export async function act(url, body, element) {
  element?.setAttribute("aria-busy", "true");
  try {
    const answer = await post(url, body);
    if (answer.text) toast(answer.text, answer.ok ? "" : "bad");
    const section = element?.closest("[data-fragment]");
    if (section) soon(section, 0);
    stirAll();
    return answer;
  } catch (error) {
    toast(error.message, "bad");
    return { ok: false, offline: error instanceof Offline };
  } finally {
    element?.removeAttribute("aria-busy");
  }
}

async function press(button) {
  if (button.getAttribute("aria-busy")) return;
  if (button.dataset.confirm && !(await sure(button.dataset.confirm))) return;
  if (button.dataset.say) { await (hooks.say ?? run)(button.dataset.say); return; }
  const body = JSON.parse(button.dataset.body ?? "{}");
  if ("once" in button.dataset) body.id = button.dataset.once ||= newId();
  const answer = await act(button.dataset.post, body, button);
  if (answer.ok && "once" in button.dataset) button.dataset.once = "";
  if (answer.ok) leave(answer.data.href ?? button.dataset.then);
}

// What was made has a page of its own.
function leave(href) { if (href) location.assign(href); }

// A slash command where no chat is open: its answer is shown in the dialog.
export async function run(text) {
  try {
    const answer = await post(`/web/chat/${encodeURIComponent(homeKey)}/messages`, { id: newId(), text });
    if (!answer.ok) { toast(answer.text, "bad"); return; }
    if (answer.data.html) show(answer.data.html);
    stirAll();
  } catch (error) {
    toast(error.message, "bad");
  }
}

const dialog = document.getElementById("dialog");
const inside = dialog.querySelector(".inside");

function show(html) {
  inside.innerHTML = `<div class="prose">${html}</div>`; // rendered by the gateway, which lets no HTML through
  fill(inside);
  if (!dialog.open) dialog.showModal();
}

async function openFragment(url) {
  inside.innerHTML = '<section data-on="run progress idle message"></section>';
  const section = inside.firstChild;
  section.dataset.fragment = url;
  section.setAttribute("aria-label", "Log");
  await refresh(section);
  if (!dialog.open) dialog.showModal();
}

dialog.addEventListener("close", () => { inside.textContent = ""; });
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

document.addEventListener("click", (event) => {
  const button = event.target.closest("button, summary");
  if (!button) return;
  if ("post" in button.dataset || "say" in button.dataset) press(button);
  else if ("dialog" in button.dataset) openFragment(button.dataset.dialog);
  else if ("close" in button.dataset) button.closest("dialog").close();
  else if ("copy" in button.dataset) copy(button);
  else if ("drawer" in button.dataset) drawer(button.dataset.drawer);
});

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-post]");
  if (!form) return;
  event.preventDefault();
  const body = Object.fromEntries(new FormData(form));
  if ("once" in form.dataset) {
    body.id = form.dataset.once ||= newId(); // the same one until it has worked: then it is done once
  }
  const answer = await act(form.dataset.post, body, form.querySelector("button"));
  if (!answer.ok) return;
  if ("once" in form.dataset) form.dataset.once = "";
  leave(answer.data.href);
  form.reset();
  form.closest("details")?.removeAttribute("open");
});

// A form in a <details> is opened to be written in.
document.addEventListener("toggle", (event) => {
  if (event.target.open) event.target.querySelector(":scope > form input")?.focus();
}, true);

async function copy(button) {
  const text = button.closest("figure").querySelector("code").textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea"); // a page without TLS has no clipboard
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

// ---- drawers, on narrow screens

export function drawer(name) {
  for (const each of document.querySelectorAll(".drawer, .pop")) {
    const open = each.id === name && !each.classList.contains("open");
    each.classList.toggle("open", open);
    document.querySelector(`[data-drawer="${each.id}"]`)?.setAttribute("aria-expanded", String(open));
    if (open) each.querySelector("a, button")?.focus();
  }
}

document.addEventListener("click", (event) => {
  if (!event.target.closest(".drawer, .pop, [data-drawer], dialog")) drawer("");
});

// ---- light and dark

document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("laneway-theme", root.dataset.theme); } catch { /* it holds for this page */ }
});

// ---- keys

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  const box = document.getElementById("box");
  if ((event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) || (event.key === "k" && (event.ctrlKey || event.metaKey))) {
    event.preventDefault();
    box.focus();
    box.select();
  }
  if (event.key === "Escape" && document.querySelector(".drawer.open, .pop.open")) drawer("");
});

// ---- the connection

const link = document.getElementById("link");
const WORDS = { connecting: "connecting", live: "live", lost: "reconnecting" };

function state(name) {
  if (link.dataset.state === name) return;
  link.dataset.state = name;
  link.querySelector(".text").textContent = WORDS[name];
  hooks.state(name);
}

// A link to sign in with that was opened here needlessly: its code is nobody's business.
if (location.hash.startsWith("#code=")) history.replaceState(null, "", location.pathname + location.search);
keepTime();
commandBox({ say: (text) => (hooks.say ?? run)(text) });
// One turn of the loop later, so that the chat's script has said what it does.
setTimeout(() => connect(chatting ? homeKey : "", {
  onStir: (data) => { stir(data.kinds, data.keys); hooks.stir(data); },
  onPartial: (data) => hooks.partial(data),
  onSync: () => { stirAll(); hooks.sync(); },
  onState: state,
  onVersion: () => toast("Laneway was updated: reload this page when it suits you."),
}));
performance.mark("laneway-ready");
