// <input type="file" data-into="ID"> puts the text of a file into that field. It is hidden without scripts, where a person pastes.
document.addEventListener("change", async (event) => {
  const into = event.target.dataset?.into;
  const file = into && event.target.files?.[0];
  if (!file) return;
  const bytes = new Uint8Array(await file.arrayBuffer());
  const wide = { "255,254": "utf-16le", "254,255": "utf-16be" }[bytes.slice(0, 2).join(",")];
  document.getElementById(into).value = new TextDecoder(wide ?? "utf-8").decode(bytes);
});
