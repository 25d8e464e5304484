// The control room: a bar of a timeline leads to its turn, and all tools of a transcript can be opened at once.

document.addEventListener("click", (event) => {
  const bar = event.target.closest("[data-goto]");
  if (bar) goTo(bar.dataset.goto);
  const button = event.target.closest("[data-unfold]");
  if (button) unfold(button);
});

function goTo(id) {
  const turn = document.getElementById(id);
  if (!turn) return;
  turn.scrollIntoView({ block: "center" });
  for (const each of document.querySelectorAll(".turn.found")) each.classList.remove("found");
  turn.classList.add("found");
}

function unfold(button) {
  const all = [...document.querySelectorAll(`${button.dataset.unfold} details.tool`)];
  const open = all.some((each) => !each.open);
  for (const each of all) each.open = open;
}
