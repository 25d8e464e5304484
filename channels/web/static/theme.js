// Light or dark, before anything is drawn: as it was chosen here, else as the system has it.
(() => {
  try {
    const chosen = localStorage.getItem("laneway-theme");
    if (chosen) document.documentElement.dataset.theme = chosen;
  } catch { /* a browser that keeps nothing follows the system */ }
})();
