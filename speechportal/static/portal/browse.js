// Folder browser: picks a folder of the storage in a dialog. The portal returns fragments, whose links and
// form open other folders by htmx. A problem (RFC 9457) is shown with its detail.

const dialog = document.querySelector("#browser");
const listing = dialog.querySelector("[data-listing]");
const shownPath = dialog.querySelector("[data-path]");
const failed = dialog.querySelector("[data-failed]");
const unchosen = dialog.querySelector("[data-unchosen]");
const general = failed.textContent; // for a failure without a reason
const take = dialog.querySelector("[data-take]");
let target = null;
let path = "";

/** @param {XMLHttpRequest} xhr @returns {string} the reason that a problem gives, if any */
function reasonOf(xhr) {
  if (!xhr.getResponseHeader("Content-Type")?.startsWith("application/problem+json")) return "";
  return String(JSON.parse(xhr.responseText).detail ?? "");
}

for (const button of document.querySelectorAll("[data-browse]")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const connection = document.getElementById(button.dataset.connection);
    const uid = connection.selectedOptions[0]?.dataset.uid;
    target = document.getElementById(button.dataset.browse);
    unchosen.hidden = Boolean(uid);
    failed.hidden = true;
    listing.hidden = !uid;
    take.disabled = true;
    listing.replaceChildren();
    shownPath.textContent = "";
    dialog.showModal();
    if (!uid) return;
    const typed = target.value.trim().replace(/^\/+/, "");
    const folder = typed && !typed.endsWith("/") ? `${typed}/` : typed;
    const address = `${button.dataset.address.replace("UID", uid)}?${new URLSearchParams({ path: folder })}`;
    window.htmx.ajax("GET", address, { source: listing, target: listing, swap: "innerHTML" }).catch(() => {});
  });
}

listing.addEventListener("htmx:beforeRequest", () => {
  listing.setAttribute("aria-busy", "true");
  failed.hidden = true;
});
listing.addEventListener("htmx:beforeSwap", (event) => {
  // Another page: signed out meanwhile.
  if (!event.detail.serverResponse.includes("data-folder")) event.detail.shouldSwap = false;
});
listing.addEventListener("htmx:afterRequest", (event) => {
  const { xhr, requestConfig } = event.detail;
  const level = listing.querySelector("[data-folder]");
  const isShown = xhr.status === 200 && xhr.responseText.includes("data-folder");
  listing.removeAttribute("aria-busy");
  if (isShown && level) {
    path = level.dataset.folder;
    shownPath.textContent = `/${path}`;
    take.disabled = false;
    listing.querySelector("a, button")?.focus();
    return;
  }
  failed.textContent = reasonOf(xhr) || general;
  failed.hidden = false;
  if (requestConfig.verb === "get") {
    listing.replaceChildren();
    take.disabled = true;
  }
});
take.addEventListener("click", () => {
  target.value = path;
  dialog.close();
  target.focus();
});
for (const button of dialog.querySelectorAll("[data-close]"))
  button.addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
