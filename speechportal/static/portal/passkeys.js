// Passkeys: forms with data-passkey fetch options from the portal, ask the browser for a passkey ("create")
// or a signature ("get"), and are submitted with the response in their field "credential".
// Error messages are in data attributes of the form, so that they are translated.

const toBytes = (text) =>
  Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));

function toText(buffer) {
  const letters = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join("");
  return btoa(letters).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

const withBytes = (entries) => (entries ?? []).map((entry) => ({ ...entry, id: toBytes(entry.id) }));

function decoded(options) {
  const found = { ...options, challenge: toBytes(options.challenge) };
  if (options.user) found.user = { ...options.user, id: toBytes(options.user.id) };
  if (options.excludeCredentials) found.excludeCredentials = withBytes(options.excludeCredentials);
  if (options.allowCredentials) found.allowCredentials = withBytes(options.allowCredentials);
  return found;
}

function encoded(credential) {
  const response = {};
  const names = ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"];
  for (const name of names) {
    if (credential.response[name]) response[name] = toText(credential.response[name]);
  }
  const { id, type, authenticatorAttachment } = credential;
  const clientExtensionResults = credential.getClientExtensionResults();
  const rawId = toText(credential.rawId);
  return { id, rawId, type, response, authenticatorAttachment, clientExtensionResults };
}

async function answer(form) {
  const response = await fetch(form.dataset.options, {
    method: "POST",
    body: new FormData(form),
    headers: { Accept: "application/json" },
  });
  const asked = await response.json();
  if (!response.ok) throw new Error(asked.error);
  const publicKey = decoded(asked.publicKey);
  const credential = await navigator.credentials[form.dataset.passkey]({ publicKey });
  return JSON.stringify(encoded(credential));
}

function show(form, text) {
  const place = form.querySelector("[data-passkey-error]");
  place.textContent = text;
  place.hidden = !text;
}

function textOf(form, error) {
  if (error instanceof DOMException) {
    return error.name === "InvalidStateError" ? form.dataset.known : form.dataset.cancelled;
  }
  return error instanceof TypeError || error instanceof SyntaxError ? form.dataset.failed : error.message;
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  if (!window.PublicKeyCredential) {
    form.querySelector("button").disabled = true;
    show(form, form.dataset.unsupported);
  }
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    show(form, "");
    try {
      form.elements.credential.value = await answer(form);
      form.submit();
    } catch (error) {
      button.disabled = false;
      show(form, textOf(form, error));
    }
  });
}
