// <form data-passkey="get|create" data-begin="ADDRESS">: before it is sent, the browser's authenticator answers what the panel
// asks at that address. Its fields challenge and credential then have the answer; what went wrong is said in [data-problem].
const decoded = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (each) => each.charCodeAt(0));
const coded = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const ANSWERED = ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"];

function asked(options) {
  options.challenge = decoded(options.challenge);
  if (options.user) options.user.id = decoded(options.user.id);
  for (const each of [...(options.excludeCredentials ?? []), ...(options.allowCredentials ?? [])]) each.id = decoded(each.id);
  return { publicKey: options };
}

function answer(credential) {
  const given = ANSWERED.filter((name) => credential.response[name]);
  return {
    id: credential.id,
    rawId: coded(credential.rawId),
    type: credential.type,
    response: Object.fromEntries(given.map((name) => [name, coded(credential.response[name])])),
    clientExtensionResults: credential.getClientExtensionResults(),
  };
}

async function fill(form, problem) {
  const response = await fetch(form.dataset.begin, { method: "POST", body: new URLSearchParams(new FormData(form)) });
  const begun = await response.json().catch(() => null);
  if (!begun?.options) throw new Error(begun?.detail ?? problem.dataset.failed);
  const credential = await navigator.credentials[form.dataset.passkey](asked(begun.options));
  form.elements.challenge.value = begun.challenge;
  form.elements.credential.value = JSON.stringify(answer(credential));
}

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-passkey]");
  if (!form) return;
  event.preventDefault();
  const problem = form.querySelector("[data-problem]");
  problem.hidden = true;
  try {
    if (!window.PublicKeyCredential) throw new Error(problem.dataset.unable);
    await fill(form, problem);
    form.submit();
  } catch (error) {
    const { cancelled, known: there, elsewhere } = problem.dataset;
    const known = { NotAllowedError: cancelled, InvalidStateError: there, SecurityError: elsewhere };
    problem.textContent = known[error.name] ?? error.message;
    problem.hidden = false;
  }
});
