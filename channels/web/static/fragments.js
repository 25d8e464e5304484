// Live pieces of a page: asked for again when something has changed that they show, at most once a second each.

import { getText, Offline } from "./api.js";
import { morph } from "./morph.js";
import { fill } from "./time.js";

const REST_MS = 1000;
const known = new WeakMap();

function stateOf(section) {
  if (!known.has(section)) known.set(section, { etag: null, last: performance.now() - REST_MS, timer: 0, busy: false, again: false });
  return known.get(section);
}

const sections = () => document.querySelectorAll("[data-fragment]");

// Something of these types has happened in these sessions.
export function stir(kinds, keys) {
  for (const section of sections()) {
    const { on, key } = section.dataset;
    const meant = on.split(" ").filter((kind) => kinds.includes(kind));
    if (meant.length && (!key || meant.includes("run") || keys.includes(key))) soon(section);
  }
}

// Anything may have happened.
export function stirAll() {
  for (const section of sections()) soon(section, 0);
}

export function soon(section, rest = REST_MS) {
  const state = stateOf(section);
  if (document.hidden) { state.again = true; return; }
  if (state.timer) return;
  const wait = Math.max(0, state.last + rest - performance.now());
  state.timer = setTimeout(() => { state.timer = 0; refresh(section); }, wait);
}

export async function refresh(section) {
  const state = stateOf(section);
  if (state.busy) { state.again = true; return; }
  state.busy = true;
  state.again = false;
  state.last = performance.now();
  try {
    const url = section.dataset.fragment;
    const answer = await getText(url, state.etag);
    if (answer !== null && section.dataset.fragment === url) {
      state.etag = answer.etag;
      morph(section, answer.text);
      fill(section);
      section.dispatchEvent(new CustomEvent("laneway:fresh", { bubbles: true }));
    }
  } catch (error) {
    if (!(error instanceof Offline)) console.warn(section.dataset.fragment, error.message);
  } finally {
    state.busy = false;
    if (state.again && !document.hidden) soon(section);
  }
}

// Pieces in which time itself moves something.
setInterval(() => {
  for (const section of document.querySelectorAll("[data-every]")) {
    if (section.querySelector("[data-still]")) continue;
    if (performance.now() - stateOf(section).last >= Number(section.dataset.every) * 1000) soon(section);
  }
}, 1000);

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  for (const section of sections()) if (stateOf(section).again) soon(section, 0);
});
