// The conversation as it stands in the page. Every entry has an id that stays its own, so that whatever comes twice is
// shown once, and whatever was missed comes with the next look: `sync` asks for all that is newer than what is here.

import { getJson, Offline } from "./api.js";
import { node, parse } from "./morph.js";
import { fill } from "./time.js";

const OVERLAP_MS = 5_000; // clocks and commits of several writers need not be in the same order
const NEAR_PX = 80;

const thread = document.getElementById("thread");
const scroll = document.getElementById("scroll");
const list = document.getElementById("log");
const partial = document.getElementById("partial");
const jump = document.getElementById("jump");
const older = document.getElementById("older");
const empty = document.getElementById("empty");
const spoken = document.getElementById("spoken");
export const base = `/web/chat/${encodeURIComponent(thread.dataset.key)}`;

let session = thread.dataset.session;
let seen = Number(thread.dataset.at);
let busy = false;
let again = false;
let begun = 0;
let loadingOlder = false;

// ---- where the reader is

let following = true;
const nearEnd = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < NEAR_PX;

export function toEnd() {
  following = true;
  scroll.scrollTop = scroll.scrollHeight;
}

function settle() {
  empty.hidden = list.children.length > 0 || !partial.hidden;
  if (following) scroll.scrollTop = scroll.scrollHeight;
  jump.hidden = following;
}

scroll.addEventListener("scroll", () => {
  following = nearEnd();
  jump.hidden = following;
  if (scroll.scrollTop < 300) loadOlder();
}, { passive: true });
jump.addEventListener("click", toEnd);
new ResizeObserver(() => { if (following) scroll.scrollTop = scroll.scrollHeight; }).observe(scroll);

// ---- entries

const order = (entry) => (entry.dataset.at ? Number(entry.dataset.at) : entry.classList.contains("local") ? 2e15 : 1e15);

export function place(entry) {
  let after = list.lastElementChild;
  while (after && (after === entry || order(after) > order(entry))) after = after.previousElementSibling;
  const next = after ? after.nextElementSibling : list.firstElementChild;
  if (next !== entry) list.insertBefore(entry, next);
}

// Something that only this page knows, behind everything that is there.
export function placeLocal(entry) {
  const last = Math.max(seen, ...[...list.querySelectorAll("[data-at]")].map((each) => Number(each.dataset.at)));
  entry.dataset.at = last + 0.001;
  place(entry);
  settle();
}

function known(entry) {
  const same = document.getElementById(entry.id);
  if (same) return same;
  const { client } = entry.dataset;
  return client ? list.querySelector(`[data-client="${CSS.escape(client)}"]`) : null;
}

// Entries that this page has from the gateway's own word, and since when: an answer that was on its way before knows
// nothing of them.
const told = new WeakMap();
export function tell(entry) { told.set(entry, performance.now()); }

function merge(data, asked) {
  const fresh = [...parse(data.html).children];
  const given = new Set(fresh.map((entry) => entry.id));
  for (const entry of fresh) {
    const old = known(entry);
    if (old) {
      if (old.id !== entry.id) old.id = entry.id;
      node(old, entry);
    } else if (entry.matches(".answer, .failure, .notice")) {
      say(entry);
    }
    place(old ?? entry);
    seen = Math.max(seen, Number(entry.dataset.at ?? 0));
    if (Number(entry.dataset.at) < begun) continue;
    if (entry.matches(".ended")) keepPartial(Number(entry.dataset.at) - 0.5);
    else if (entry.matches(".answer, .work, .failure")) hidePartial();
  }
  for (const entry of list.querySelectorAll(".waiting:not(.local)")) {
    const newer = (told.get(entry) ?? 0) > asked;
    if (!newer && !given.has(entry.id) && !data.open.includes(entry.id)) entry.remove();
  }
  fill(list);
  settle();
}

function say(entry) {
  spoken.textContent = entry.querySelector(".prose")?.textContent.trim().slice(0, 400) ?? "";
  if (document.hidden && !document.title.startsWith("● ")) document.title = `● ${document.title}`;
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) document.title = document.title.replace(/^● /, "");
});

export async function sync(idle = false) {
  if (busy) { again = true; return; }
  busy = true;
  again = false;
  const asked = performance.now();
  try {
    let data = await getJson(`${base}/log?after=${Math.max(0, seen - OVERLAP_MS)}`);
    if (data.session !== session) { // a fresh one was begun in its place
      if (session) {
        data = await getJson(`${base}/log`);
        list.replaceChildren(...list.querySelectorAll(".local"));
        thread.dataset.earlier = data.earlier ?? "";
      }
      session = data.session;
    }
    merge(data, asked);
    if (idle && !data.busy) keepPartial();
  } catch (error) {
    if (!(error instanceof Offline)) console.warn(error.message);
  } finally {
    busy = false;
    if (again) sync();
  }
}

async function loadOlder() {
  const before = thread.dataset.earlier;
  if (!before || loadingOlder) return;
  loadingOlder = true;
  older.hidden = false;
  try {
    const data = await getJson(`${base}/log?before=${before}`);
    const below = scroll.scrollHeight - scroll.scrollTop;
    for (const entry of parse(data.html).children) if (!known(entry)) place(entry.cloneNode(true));
    thread.dataset.earlier = data.earlier ?? "";
    fill(list);
    scroll.scrollTop = scroll.scrollHeight - below; // the reader stays where he was
  } catch { /* the next scroll tries again */ } finally {
    loadingOlder = false;
    older.hidden = true;
  }
}

// ---- the answer under way

export function showPartial(data) {
  const [done, tail] = partial.children;
  if (data.reset) {
    if (partial.dataset.id !== data.id) keepPartial(); // another answer: this one was never ended
    partial.dataset.id = data.id;
    if (answered() > data.begun) { hidePartial(); return; } // the whole one is here already
    done.replaceChildren();
    begun = data.begun;
    partial.hidden = false;
  } else if (partial.hidden) {
    return;
  }
  if (data.done) done.append(parse(data.done));
  tail.replaceChildren(parse(data.tail));
  settle();
}

function answered() {
  const found = [...list.querySelectorAll(".answer[data-at], .work[data-at], .failure[data-at]")].pop();
  return found ? Number(found.dataset.at) : 0;
}

function hidePartial() {
  partial.hidden = true;
  for (const each of partial.children) each.replaceChildren();
}

// The turn was stopped in the middle of an answer, and nothing more will come: what there is stays.
function keepPartial(at = 0) {
  if (partial.hidden) return;
  const entry = document.createElement("li");
  entry.className = "entry answer cut";
  entry.append(...partial.cloneNode(true).children);
  const note = document.createElement("p");
  note.className = "meta";
  note.textContent = "stopped here";
  entry.append(note);
  hidePartial();
  if (entry.textContent.trim() === note.textContent) return;
  if (!at) { placeLocal(entry); return; }
  entry.dataset.at = at;
  place(entry);
}

fill(list);
settle();
toEnd();
