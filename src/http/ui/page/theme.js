// Runs before anything is drawn, so that a page that is to be dark never flashes. No module for that
// reason; `app.js` has the button.
(() => {
  const chosen = localStorage.getItem("tallykeep-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
