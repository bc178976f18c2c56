// <button data-copy="ID"> copies the text of that element and says so in the live region. It is hidden without scripts.
import { announce } from "./_announcing.js";

document.documentElement.classList.add("scripted");
document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  await navigator.clipboard.writeText(source.value ?? source.textContent);
  announce(button.dataset.copied);
});
