// <input type="file" multiple data-files-into="ID"> puts whole files into that field, a line each: name, colon, content in base64
// of addresses. Nothing is sent until all are read.
const text = (file) =>
  new Promise((done, failed) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => done(reader.result.split(",")[1] ?? ""));
    reader.addEventListener("error", () => failed(reader.error));
    reader.readAsDataURL(file);
  });

const line = async (file) => `${encodeURIComponent(file.name)}:${(await text(file)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;

document.addEventListener("change", async (event) => {
  const input = event.target;
  if (!input.dataset?.filesInto) return;
  const into = document.getElementById(input.dataset.filesInto);
  const buttons = [...input.form.querySelectorAll("button")];
  buttons.forEach((button) => (button.disabled = true));
  into.value = "";
  try {
    into.value = (await Promise.all([...input.files].map(line))).join("\n");
  } finally {
    buttons.forEach((button) => (button.disabled = false));
  }
});
