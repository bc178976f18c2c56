// Ctrl+K or ⌘K opens the search as a dialog; there, the arrows go through what was found, and Enter opens the first of it.
const opener = () => document.querySelector("[data-open-search]");

if (/^(Mac|iP)/.test(navigator.platform)) document.querySelectorAll("[data-shortcut]").forEach((each) => (each.textContent = "⌘K"));

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "k") {
    const field = document.querySelector("[data-search] input");
    if (!field && (!opener() || document.querySelector("dialog[open]"))) return;
    event.preventDefault();
    if (field) field.select();
    else opener().click();
    return;
  }
  const form = event.target.closest?.("[data-search]");
  if (!form) return;
  const field = form.querySelector("input");
  const hits = [...form.querySelectorAll(".hits a")];
  if (event.key === "Enter" && event.target === field && hits.length && field.value.trim()) {
    event.preventDefault();
    hits[0].click();
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    const order = [field, ...hits];
    const at = order.indexOf(event.target) + (event.key === "ArrowDown" ? 1 : -1);
    if (order[at]) {
      event.preventDefault();
      order[at].focus();
    }
  }
});
