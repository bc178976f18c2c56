// The live region of a page: what fragments say with data-announce, once they are in place, is read aloud.
export function announce(text) {
  const region = document.getElementById("announcements");
  if (region && text && region.textContent !== text) region.textContent = text;
}

document.addEventListener("htmx:after:swap", (event) => {
  const target = event.detail.ctx?.target;
  const source = event.detail.ctx?.sourceElement;
  if (source?.dataset?.live !== undefined) return; // what comes by itself interrupts nobody
  announce(target?.querySelector?.("[data-announce]")?.dataset.announce);
});
