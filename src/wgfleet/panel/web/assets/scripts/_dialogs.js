// A link with hx-target="#dialog" opens what it fetched as a dialog; without scripts it is a page of its own.
// [data-close] closes it; the focus then goes back to the link.
document.addEventListener("htmx:after:swap", (event) => {
  const dialog = document.getElementById("dialog");
  if (event.detail.ctx?.target !== dialog) return;
  const heading = dialog.querySelector("h1, h2");
  if (heading) {
    heading.id ||= "dialog-title";
    dialog.setAttribute("aria-labelledby", heading.id);
  }
  if (!dialog.open) dialog.showModal();
});

document.addEventListener("click", (event) => {
  const close = event.target.closest?.("dialog [data-close]");
  if (!close) return;
  event.preventDefault();
  close.closest("dialog").close();
});
