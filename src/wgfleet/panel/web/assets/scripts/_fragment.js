// <input data-from-fragment> gets what stands behind # in the address, which no server has seen, and takes it out there.
// What is left to be filled in has the focus then. Another language is another page: it gets what this one had.
const field = document.querySelector("[data-from-fragment]");
const KEPT = "from-fragment";

if (field) {
  const kept = sessionStorage.getItem(KEPT);
  sessionStorage.removeItem(KEPT);
  if (location.hash.length > 1) {
    field.value = location.hash.slice(1);
    history.replaceState(null, "", location.pathname);
  } else if (kept && !field.value) {
    field.value = kept;
  }
  document.addEventListener("submit", (event) => {
    if (event.target !== field.form && field.value) sessionStorage.setItem(KEPT, field.value);
  });
}
if (field && !document.querySelector("[autofocus], [aria-invalid]")) {
  [...field.form.elements].find((each) => each.required && !each.value)?.focus();
}
