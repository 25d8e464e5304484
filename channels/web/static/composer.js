// What the reader sends: messages with an id of their own, tried until the gateway has them, in their order. They stand
// in the conversation from the first moment; what isn't sent when the page goes is there again when it comes back.

import { newId, Offline, post, upload } from "./api.js";
import { stirAll } from "./fragments.js";
import { base, place, placeLocal, sync, tell, toEnd } from "./log.js";
import { complete, Offers, palette, ready } from "./palette.js";
import { parse } from "./morph.js";

const form = document.getElementById("composer");
const field = document.getElementById("text");
const chips = document.getElementById("files");
const pick = document.getElementById("pick");
const log = document.getElementById("log");
const MOST_FILES = 20;
const LARGEST = 20 * 1024 * 1024;
const PREVIEW = 4 * 1024 * 1024;

// ---- kept over a reload

const store = {
  get(name) { try { return JSON.parse(sessionStorage.getItem(`${name}:${base}`)); } catch { return null; } },
  set(name, value) {
    try {
      if (value === null || value === "") sessionStorage.removeItem(`${name}:${base}`);
      else sessionStorage.setItem(`${name}:${base}`, JSON.stringify(value));
    } catch { /* then it is in this page only */ }
  },
};

// ---- the queue

const queue = [];
let sending = false;

function keep() {
  const unsent = queue.filter((each) => !each.files.length).map(({ id, text }) => ({ id, text }));
  store.set("unsent", unsent.length ? unsent : null);
}

export function send(text, files = [], id = newId()) {
  const item = { id, text, files, entry: entryOf(id, text, files), tries: 0, failed: false };
  queue.push(item);
  keep();
  log.append(item.entry);
  toEnd();
  document.getElementById("empty").hidden = true;
  pump();
}

function entryOf(id, text, files) {
  const entry = document.createElement("li");
  entry.className = "entry user local";
  entry.id = `o-${id}`;
  entry.dataset.client = id;
  const bubble = document.createElement("div");
  bubble.className = "bubble";
  const said = document.createElement("div");
  said.className = "said";
  said.textContent = text;
  if (text) bubble.append(said);
  for (const { file } of files) {
    const name = document.createElement("span");
    name.className = "file";
    name.textContent = `📎 ${file.name}`;
    bubble.append(name);
  }
  const note = document.createElement("p");
  note.className = "meta";
  note.textContent = "sending …";
  entry.append(bubble, note);
  return entry;
}

export function pump() {
  if (sending) return;
  const item = queue.find((each) => !each.failed);
  if (!item) return;
  sending = true;
  item.entry.querySelector(".meta").textContent = "sending …";
  deliver(item).catch((error) => {
    if (!(error instanceof Offline)) { fail(item, error.message); return; }
    item.tries += 1;
    item.entry.querySelector(".meta").textContent = "not sent yet: the gateway can't be reached";
    setTimeout(pump, Math.min(5000, 500 * 2 ** item.tries)); // or earlier: when the connection is back
    throw error;
  }).then(() => { sending = false; pump(); }, () => { sending = false; });
}

async function deliver(item) {
  for (const each of item.files) {
    if (each.token) continue;
    const done = await upload(`${base}/files?name=${encodeURIComponent(each.file.name)}`, each.file);
    if (!done.ok) { fail(item, done.text); return; }
    each.token = done.data.file;
  }
  const body = { id: item.id, text: item.text, files: item.files.map((each) => each.token) };
  const answer = await post(`${base}/messages`, body);
  if (answer.status === 409 && item.files.some((each) => each.token) && item.tries < 3) {
    for (const each of item.files) each.token = null; // the gateway was started anew and has forgotten them
    item.tries += 1;
    await deliver(item);
    return;
  }
  if (!answer.ok) { fail(item, answer.text); return; }
  taken(item, answer.data);
}

function taken(item, data) {
  queue.splice(queue.indexOf(item), 1);
  keep();
  const { entry } = item;
  const here = entry.isConnected && entry.id.startsWith("o-");
  if (data.inboxId !== null) {
    if (here) {
      const other = document.getElementById(`i-${data.inboxId}`);
      if (other) entry.remove();
      else {
        entry.id = `i-${data.inboxId}`;
        entry.classList.remove("local");
        entry.classList.add("waiting");
        entry.querySelector(".meta").textContent = "accepted";
        tell(entry);
        place(entry);
      }
    }
    if (data.reply) reply(data);
  } else {
    entry.querySelector(".meta").textContent = "";
    entry.classList.remove("local");
    placeLocal(entry);
    reply(data);
  }
  stirAll();
  sync();
}

// What a command has answered: shown here and now, and no part of the conversation.
function reply(data) {
  if (!data.html) return;
  const entry = document.createElement("li");
  entry.className = `entry reply${data.failed ? " bad" : ""}`;
  const prose = document.createElement("div");
  prose.className = "prose";
  prose.append(parse(data.html));
  entry.append(prose);
  placeLocal(entry);
  document.getElementById("spoken").textContent = prose.textContent.slice(0, 400);
  toEnd();
}

function fail(item, text) {
  item.failed = true;
  const note = item.entry.querySelector(".meta");
  note.textContent = `Not sent: ${text} `;
  note.classList.add("bad");
  for (const [name, act] of [["Try again", again], ["Discard", discard]]) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", () => act(item));
    note.append(button, " ");
  }
}

function again(item) {
  item.failed = false;
  item.tries = 0;
  item.entry.querySelector(".meta").classList.remove("bad");
  pump();
}

function discard(item) {
  queue.splice(queue.indexOf(item), 1);
  keep();
  item.entry.remove();
}

// ---- files

let files = [];

function add(found) {
  for (const file of found) {
    if (files.length >= MOST_FILES) break;
    if (file.size > LARGEST) { chip({ file }, `larger than ${LARGEST / 1024 / 1024} MB`); continue; }
    const item = { file, token: null };
    files.push(item);
    chip(item);
  }
  field.focus();
}

function chip(item, fault = "") {
  const line = document.createElement("li");
  line.className = fault ? "bad" : "";
  const name = document.createElement("span");
  name.textContent = fault ? `${item.file.name}: ${fault}` : item.file.name;
  const gone = document.createElement("button");
  gone.type = "button";
  gone.className = "ghost";
  gone.textContent = "✕";
  gone.setAttribute("aria-label", `Remove ${item.file.name}`);
  gone.addEventListener("click", () => { files = files.filter((each) => each !== item); line.remove(); field.focus(); });
  line.append(name, gone);
  chips.append(line);
  if (!fault && item.file.type.startsWith("image/") && item.file.size < PREVIEW) preview(line, item.file);
}

function preview(line, file) {
  const reader = new FileReader();
  reader.addEventListener("load", () => {
    const image = document.createElement("img");
    image.alt = "";
    image.src = reader.result;
    line.prepend(image);
  });
  reader.readAsDataURL(file);
}

pick.addEventListener("change", () => { add(pick.files); pick.value = ""; });
field.addEventListener("paste", (event) => {
  const found = [...event.clipboardData.files];
  if (found.length) { event.preventDefault(); add(found); }
});
const thread = document.getElementById("thread");
for (const type of ["dragover", "dragenter"]) {
  thread.addEventListener(type, (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    thread.classList.add("dropping");
  });
}
for (const type of ["dragleave", "drop"]) {
  thread.addEventListener(type, (event) => { if (type === "drop" || event.target === thread) thread.classList.remove("dropping"); });
}
thread.addEventListener("drop", (event) => {
  if (!event.dataTransfer.files.length) return;
  event.preventDefault();
  add([...event.dataTransfer.files]);
});

// ---- the field

function fit() {
  field.rows = 1;
  const line = parseFloat(getComputedStyle(field).lineHeight);
  const padding = field.offsetHeight - line;
  field.rows = Math.min(10, Math.max(1, Math.round((field.scrollHeight - padding) / line)));
}

const offers = new Offers(field, document.getElementById("complete"), (item, key) => {
  if (key === "Enter" && item.text.trim() === field.value.trim()) { offers.hide(); submit(); return; }
  field.value = item.text;
  field.focus();
  suggest();
});

async function suggest() {
  const text = field.value;
  if (!text.startsWith("/") || text.includes("\n")) { offers.hide(); return; }
  const known = ready() ?? await palette();
  if (field.value !== text || document.activeElement !== field) return;
  const runs = [...document.querySelectorAll("#beside [data-run]")]
    .map((card) => [card.dataset.run.slice(0, 8), card.dataset.label]);
  const found = complete(text, known, runs);
  // What is typed to its end wants no completion: Enter sends it.
  offers.show(found.length === 1 && found[0].text.trim() === text.trim() && text.endsWith(" ") ? [] : found);
}

let back = -1;

function recall(step) {
  const said = [...log.querySelectorAll(".entry.user .said")].map((each) => each.textContent).reverse();
  const next = back + step;
  if (next < -1 || next >= said.length) return;
  back = next;
  field.value = back < 0 ? "" : said[back];
  fit();
  field.setSelectionRange(field.value.length, field.value.length);
}

function submit() {
  const text = field.value.trim();
  if (!text && !files.length) return;
  offers.hide();
  send(text, files);
  files = [];
  chips.replaceChildren();
  field.value = "";
  back = -1;
  store.set("draft", null);
  fit();
}

field.addEventListener("input", () => { back = -1; fit(); suggest(); store.set("draft", field.value); });
field.addEventListener("blur", () => offers.hide());
field.addEventListener("keydown", (event) => {
  if (event.isComposing) return;
  if (event.key === "Tab" && event.shiftKey) { offers.hide(); return; }
  if (event.key !== "Enter" || !event.shiftKey) { if (offers.key(event)) return; }
  if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
    event.preventDefault();
    submit();
  } else if (event.key === "ArrowUp" && (field.value === "" || back >= 0)) {
    event.preventDefault();
    recall(1);
  } else if (event.key === "ArrowDown" && back >= 0) {
    event.preventDefault();
    recall(-1);
  }
});
form.addEventListener("submit", (event) => { event.preventDefault(); submit(); });

field.value = store.get("draft") ?? "";
fit();
for (const { id, text } of store.get("unsent") ?? []) send(text, [], id);
if (matchMedia("(pointer: fine)").matches) field.focus();
