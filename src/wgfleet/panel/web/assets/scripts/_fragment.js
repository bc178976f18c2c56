// <input data-from-fragment> gets what stands behind # in the address, which no server has seen, and takes it out there.
// What is left to be filled in has the focus then.
const field = document.querySelector("[data-from-fragment]");

if (field && location.hash.length > 1) {
  field.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
}
if (field && !document.querySelector("[autofocus], [aria-invalid]")) {
  [...field.form.elements].find((each) => each.required && !each.value)?.focus();
}
