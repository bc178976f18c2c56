// <input data-from-fragment> gets what stands behind # in the address, which no server has seen, and takes it out there.
const field = document.querySelector("[data-from-fragment]");

if (field && location.hash.length > 1) {
  field.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
}
