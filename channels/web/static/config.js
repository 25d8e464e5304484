// The editor of the configuration: checks before it saves, shows what would change, and saves nothing unseen.

import { getJson, post } from "./api.js";
import { sure, toast } from "./base.js";
import { refresh } from "./fragments.js";

const editor = document.getElementById("editor");
const text = document.getElementById("config-text");
const save = document.getElementById("config-save");
const read = document.getElementById("config-read");
const say = document.getElementById("config-say");
const problems = document.getElementById("config-problems");
const diff = document.getElementById("config-diff");
let kept = text.value;
let checked = "";

function tell(words, tone = "") {
  say.textContent = words;
  say.className = `small ${tone}`;
}

function place(line, column = 1) {
  const lines = text.value.split("\n");
  const start = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
  text.focus();
  text.setSelectionRange(start + column - 1, start + (lines[line - 1]?.length ?? 0));
  text.scrollTop = Math.max(0, (line - 4) * parseFloat(getComputedStyle(text).lineHeight));
  text.scrollIntoView({ block: "nearest" });
}

function showProblems(found) {
  problems.replaceChildren(...found.map((each) => {
    const item = document.createElement("li");
    if (each.line) {
      const to = document.createElement("button");
      to.type = "button";
      to.className = "ghost small";
      to.textContent = `line ${each.line}`;
      to.addEventListener("click", () => place(each.line, each.column ?? 1));
      item.append(to, " ");
    }
    item.append([each.key, each.message].filter(Boolean).join(": "), each.hint ? ` (${each.hint})` : "");
    return item;
  }));
  problems.hidden = !found.length;
}

function showDiff(unified) {
  diff.replaceChildren(...unified.split("\n").map((line) => {
    const span = document.createElement("span");
    span.className = line.startsWith("+++") || line.startsWith("---") || line.startsWith("@@") ? "at"
      : line.startsWith("+") ? "add" : line.startsWith("-") ? "del" : "";
    span.textContent = line || " ";
    return span;
  }));
  diff.hidden = !unified;
}

function refused(answer) {
  tell(answer.text, "bad");
  read.hidden = answer.status !== 409;
}

async function check() {
  const asked = text.value;
  const answer = await post("/web/config/check", { text: asked, etag: editor.dataset.etag });
  save.hidden = true;
  if (!answer.ok) { refused(answer); return; }
  const { valid, problems: found, diff: unified, restartNeeded, warnings } = answer.data;
  showProblems(found);
  showDiff(unified);
  save.hidden = !(valid && unified);
  checked = asked;
  if (!valid) tell(`${found.length} problem${found.length === 1 ? "" : "s"}: nothing can be saved.`, "bad");
  else if (!unified) tell("Nothing is different.");
  else tell(["This can be saved.", restartNeeded.length ? `Takes effect after a restart: ${restartNeeded.join(", ")}.` : "", ...warnings].filter(Boolean).join(" "), "good");
}

async function put() {
  if (text.value !== checked) { await check(); return; }
  const answer = await post("/web/config/save", { text: checked, etag: editor.dataset.etag });
  if (!answer.ok) { refused(answer); return; }
  const { reloaded, restartNeeded, problems: found } = answer.data;
  await again();
  tell(reloaded ? "Saved, and in force." : `Saved, but not in force: ${found.join("; ")}`, reloaded ? "good" : "bad");
  if (restartNeeded.length) toast(`Takes effect after a restart: ${restartNeeded.join(", ")}`);
  refresh(document.getElementById("f-config-values"));
}

// The file as it is now, in the place of what was typed.
async function again() {
  const source = await getJson("/web/config/source");
  text.value = kept = source.text;
  editor.dataset.etag = source.etag;
  for (const each of [save, read, problems, diff]) each.hidden = true;
  tell("");
}

function guarded(button, work) {
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-busy")) return;
    button.setAttribute("aria-busy", "true");
    try {
      await work();
    } catch (error) {
      tell(error.message, "bad");
    } finally {
      button.removeAttribute("aria-busy");
    }
  });
}

guarded(document.getElementById("config-check"), check);
guarded(save, put);
guarded(read, async () => {
  if (text.value === kept || await sure("Read the file again? What you have typed here is lost.")) await again();
});
text.addEventListener("input", () => { save.hidden = true; tell(""); });
addEventListener("beforeunload", (event) => { if (text.value !== kept) event.preventDefault(); });
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-line]");
  if (button) place(Number(button.dataset.line));
});
