// Rows of a list that are ticked: all at once with data-tick-all, and how many, for the button that goes on with them.
function count(list) {
  const ticked = list.querySelectorAll(".tick:checked").length;
  list.style.setProperty("--ticked", `" (${ticked.toLocaleString(document.documentElement.lang)})"`);
  const all = list.querySelector("[data-tick-all]");
  if (all) all.checked = ticked > 0 && ticked === list.querySelectorAll(".tick").length;
}

document.addEventListener("change", (event) => {
  const list = event.target.closest?.("#results");
  if (!list?.querySelector(".tick")) return;
  if (event.target.matches("[data-tick-all]")) list.querySelectorAll(".tick").forEach((each) => (each.checked = event.target.checked));
  count(list);
});

document.addEventListener("htmx:after:swap", () => {
  const list = document.getElementById("results");
  if (list?.querySelector(".tick")) count(list);
});
