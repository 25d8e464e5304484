// The command box: pages, conversations and runs to go to, and slash commands with their first words.

import { getJson } from "./api.js";

let offers = null;
let loading = null;

// What may be typed and gone to; asked for when it is first needed, and again after a while.
export function palette() {
  loading ??= getJson("/web/palette").then((data) => {
    offers = data;
    setTimeout(() => { loading = null; }, 10_000);
    return data;
  }, () => { loading = null; return offers ?? { conversations: [], runs: [], commands: [] }; });
  return loading;
}

// The same if it is here already: then what is offered never lags behind what is typed.
export function ready() { return loading ? offers : null; }

const TARGETS = ["info", "log", "send", "steer", "stop", "pause", "resume", "retry"];

// Completions of a slash command: [{text, label, help}], where `text` is the whole line.
export function complete(line, known, runs) {
  const words = line.split(/ +/);
  if (words.length === 1) {
    const typed = words[0].slice(1).toLowerCase();
    return known.commands.filter((each) => each.name.startsWith(typed))
      .map((each) => ({ text: `/${each.name} `, label: `/${each.name}`, usage: each.usage, help: each.help }));
  }
  const command = known.commands.find((each) => `/${each.name}` === words[0]);
  if (!command) return [];
  if (words.length === 2) {
    return command.words.filter((word) => word.startsWith(words[1]))
      .map((word) => ({ text: `${words[0]} ${word} `, label: word, usage: "", help: "" }));
  }
  if (words.length === 3 && command.name === "subagents" && TARGETS.includes(words[1])) {
    const found = [["last", "the newest"], ...(words[1] === "stop" ? [["all", "every one at work"]] : []), ...runs];
    return found.filter(([id, label]) => id.startsWith(words[2]) || label.toLowerCase().includes(words[2].toLowerCase()))
      .slice(0, 12)
      .map(([id, label]) => ({ text: `${words[0]} ${words[1]} ${id} `, label: id, usage: "", help: label }));
  }
  return [];
}

// A list of offers under an input: arrows choose, Enter and Tab take, Escape closes.
export class Offers {
  constructor(input, list, take) {
    Object.assign(this, { input, list, take, items: [], chosen: -1 });
    list.addEventListener("mousedown", (event) => event.preventDefault()); // the input keeps the focus
    list.addEventListener("click", (event) => {
      const item = event.target.closest("li");
      if (item) this.take(this.items[Number(item.dataset.index)]);
    });
  }

  get open() { return !this.list.hidden; }

  show(items, chosen = 0) {
    this.items = items.slice(0, 40);
    this.shown = this.input.value;
    this.chosen = Math.min(chosen, this.items.length - 1);
    this.list.replaceChildren(...this.items.map((item, index) => this.line(item, index)));
    this.list.hidden = !this.items.length;
    // A text area is no combobox, and may not say that it is.
    if (this.input.role === "combobox") this.input.setAttribute("aria-expanded", String(!this.list.hidden));
    this.mark();
  }

  hide() { this.show([]); }

  line(item, index) {
    const line = document.createElement("li");
    line.role = "option";
    line.id = `${this.list.id}-${index}`;
    line.dataset.index = index;
    for (const [name, text] of [["label", item.label], ["usage", item.usage], ["help", item.help]]) {
      if (!text) continue;
      const part = document.createElement("span");
      part.className = name;
      part.textContent = text;
      line.append(part, " ");
    }
    return line;
  }

  mark() {
    for (const [index, line] of [...this.list.children].entries()) {
      line.setAttribute("aria-selected", String(index === this.chosen));
      if (index === this.chosen) line.scrollIntoView({ block: "nearest" });
    }
    const id = this.chosen >= 0 ? `${this.list.id}-${this.chosen}` : "";
    if (id) this.input.setAttribute("aria-activedescendant", id);
    else this.input.removeAttribute("aria-activedescendant");
  }

  // Whether a key was for the list.
  key(event) {
    if (!this.open) return false;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const step = event.key === "ArrowDown" ? 1 : this.items.length - 1;
      this.chosen = (Math.max(0, this.chosen) + step) % this.items.length;
      this.mark();
    } else if (event.key === "Escape") {
      this.hide();
    } else if ((event.key === "Enter" || event.key === "Tab") && this.chosen >= 0 && this.shown === this.input.value) {
      this.take(this.items[this.chosen], event.key);
    } else {
      return false;
    }
    event.preventDefault();
    return true;
  }
}

export function listen({ say }) {
  const box = document.getElementById("box");
  const list = new Offers(box, document.getElementById("offers"), take);

  function take(item, key) {
    if (item.text && (key === "Tab" || item.text !== box.value)) {
      box.value = item.text;
      look();
      return;
    }
    list.hide();
    box.value = "";
    box.blur();
    if (item.href) location.assign(item.href);
  }

  async function look() {
    const text = box.value;
    const known = ready() ?? await palette();
    if (box.value !== text || document.activeElement !== box) return;
    if (text.startsWith("/")) list.show(complete(text, known, known.runs.map((run) => [run.id.slice(0, 8), run.label])));
    else list.show(places(text.trim().toLowerCase(), known));
  }

  function places(typed, known) {
    const pages = [...document.querySelectorAll("nav .pages a")]
      .map((link) => ({ label: link.textContent.trim(), href: link.getAttribute("href"), help: "page" }));
    const talks = known.conversations.map((each) => ({ label: each.title, href: each.href, help: "conversation" }));
    const runs = known.runs.map((each) => ({
      label: each.label, href: `/web/runs/${each.id}`, help: `run #${each.number} · ${each.state}`, id: each.id, number: `#${each.number}`,
    }));
    const found = [...pages, ...talks, ...runs].filter((each) => !typed || each.label.toLowerCase().includes(typed)
      || each.id?.startsWith(typed) || each.number === typed);
    if (typed) found.push({ label: `Search all runs for “${typed}”`, href: `/web/runs?q=${encodeURIComponent(typed)}`, help: "" });
    return found;
  }

  box.addEventListener("focus", look);
  box.addEventListener("input", look);
  box.addEventListener("blur", () => list.hide());
  box.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    const whole = event.key === "Enter" && box.value.startsWith("/") && (list.items[list.chosen]?.text ?? "").trim() === box.value.trim();
    if (!whole && list.key(event)) return;
    if (event.key === "Enter" && box.value.trim().startsWith("/")) {
      event.preventDefault();
      say(box.value.trim());
      list.hide();
      box.value = "";
      box.blur();
    } else if (event.key === "Escape") {
      box.blur();
    }
  });
}
