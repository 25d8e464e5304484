// Moments and clocks: `data-ago` says how long ago it was, `data-since` how long it has run. Both in milliseconds.

const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export function duration(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  const two = (n) => String(n).padStart(2, "0");
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m${two(s % 60)}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h${two(Math.floor((s % 3600) / 60))}m`;
  return `${Math.floor(s / 86400)}d${Math.floor((s % 86400) / 3600)}h`;
}

function ago(ms, short) {
  const s = Math.floor((Date.now() - ms) / 1000);
  if (s < 45) return short ? "now" : "just now";
  const [n, unit] = s < 3600 ? [Math.max(1, Math.round(s / 60)), "min"]
    : s < 86400 ? [Math.round(s / 3600), "h"] : [Math.round(s / 86400), "d"];
  return short ? `${n}${unit === "min" ? "m" : unit}` : `${n} ${unit} ago`;
}

export function fill(root = document) {
  for (const each of root.querySelectorAll("[data-ago]")) {
    const ms = Number(each.dataset.ago);
    put(each, ago(ms, "short" in each.dataset));
    if (!each.title) each.title = absolute.format(ms);
  }
  for (const each of root.querySelectorAll("[data-since]")) put(each, duration(Date.now() - Number(each.dataset.since)));
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function keepTime() {
  fill();
  setInterval(() => { if (!document.hidden) fill(); }, 1000);
}
