// The chat page: brings the conversation, what is sent and what comes live together.

import { post } from "./api.js";
import { handle, toast } from "./base.js";
import { pump, send } from "./composer.js";
import { soon } from "./fragments.js";
import { base, showPartial, sync } from "./log.js";

const thread = document.getElementById("thread");
const { key } = thread.dataset;
const name = document.getElementById("name");

handle({
  partial: showPartial,
  stir: ({ kinds, keys }) => {
    if (keys.includes(key)) sync(kinds.includes("idle"));
    else if (kinds.includes("approval")) sync();
  },
  sync: () => sync(),
  say: (text) => send(text),
  state: (state) => { if (state === "live") pump(); },
});

// Escape stops the turn, wherever in the page it is typed.
document.addEventListener("keydown", (event) => {
  const elsewhere = event.target.closest("#box, dialog, .renaming") || document.querySelector("dialog[open], .drawer.open, .pop.open");
  if (event.key !== "Escape" || event.defaultPrevented || elsewhere) return;
  if (document.querySelector(".state")?.dataset.busy === "1") send("/stop turn");
});

// How many are at work, on the button that shows them on a narrow screen.
const count = document.getElementById("count");
function counted() {
  const number = Number(document.querySelector("#f-agents .head")?.dataset.count ?? 0);
  count.textContent = String(number);
  count.hidden = number === 0;
}
document.getElementById("f-agents").addEventListener("laneway:fresh", counted);
counted();

// ---- renaming

document.getElementById("rename").addEventListener("click", () => {
  const field = document.createElement("input");
  field.className = "renaming";
  field.value = name.textContent;
  field.maxLength = 80;
  field.setAttribute("aria-label", "Name of this conversation");
  name.replaceWith(field);
  field.select();
  let done = false;
  const end = async (save) => {
    if (done) return;
    done = true;
    field.replaceWith(name);
    if (!save || field.value === name.textContent) return;
    try {
      const answer = await post(`${base}/title`, { title: field.value });
      if (!answer.ok) { toast(answer.text, "bad"); return; }
      name.textContent = answer.data.title;
      document.title = `${answer.data.title} · Laneway`;
      soon(document.getElementById("f-conversations"), 0);
    } catch (error) {
      toast(error.message, "bad");
    }
  };
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") end(true);
    if (event.key === "Escape") { event.stopPropagation(); end(false); }
  });
  field.addEventListener("blur", () => end(true));
});
