// The live connection. It comes back by itself and says from where it has missed something; a page that nobody looks
// at lets go of it after a while, since a browser has only a few connections for each host.

import { position } from "./api.js";

const HIDDEN_MS = 30_000;
const FIRST_MS = 400;
const LONGEST_MS = 5_000;

export function connect(key, { onStir, onPartial, onSync, onState, onVersion }) {
  let source = null;
  let lastId = position;
  let tries = 0;
  let timer = 0;
  let hidden = 0;
  let version = null;
  let missed = false;

  function open() {
    clearTimeout(timer);
    if (source) return;
    const query = new URLSearchParams({ lastEventId: lastId });
    if (key) query.set("key", key);
    source = new EventSource(`/web/events?${query}`);
    const on = (type, handler) => source.addEventListener(type, (event) => {
      if (event.lastEventId) lastId = event.lastEventId;
      handler(JSON.parse(event.data));
    });
    on("hello", (data) => {
      tries = 0;
      onState("live");
      if (version && version !== data.version) onVersion();
      version = data.version;
      if (missed) onSync();
      missed = false;
    });
    on("stir", onStir);
    on("partial", onPartial);
    on("reset", onSync);
    on("bye", () => { close(); location.reload(); });
    source.onerror = lost;
  }

  function close() {
    source?.close();
    source = null;
  }

  function lost() {
    close();
    missed = true;
    onState("lost");
    const wait = Math.min(LONGEST_MS, FIRST_MS * 2 ** tries) * (0.8 + Math.random() * 0.4);
    tries += 1;
    clearTimeout(timer);
    timer = setTimeout(open, wait);
  }

  document.addEventListener("visibilitychange", () => {
    clearTimeout(hidden);
    if (document.hidden) {
      hidden = setTimeout(() => { clearTimeout(timer); close(); missed = true; }, HIDDEN_MS);
    } else if (!source) {
      tries = 0;
      open();
    }
  });
  addEventListener("online", () => { tries = 0; if (!source) open(); });
  // A page that comes back out of the browser's own memory has a dead connection.
  addEventListener("pageshow", (event) => { if (event.persisted) { close(); missed = true; open(); } });
  addEventListener("pagehide", () => { clearTimeout(timer); close(); missed = true; });
  open();
}
