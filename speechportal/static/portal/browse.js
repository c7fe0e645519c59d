// Picks a folder of the storage: the portal answers with a fragment whose links lead to other folders
// (data-folder="path/"), and the dialog shows it. A problem (RFC 9457) is shown with the reason it gives.

const dialog = document.querySelector("#browser");
const listing = dialog.querySelector("[data-listing]");
const shownPath = dialog.querySelector("[data-path]");
const failed = dialog.querySelector("[data-failed]");
const unchosen = dialog.querySelector("[data-unchosen]");
const general = failed.textContent; // for a failure without a reason
const take = dialog.querySelector("[data-take]");
let address = "";
let target = null;
let path = "";

/** @param {Response} response @returns {Promise<string>} the reason that a problem gives, if any */
async function reasonOf(response) {
  if (!response.headers.get("Content-Type")?.startsWith("application/problem+json")) return "";
  const problem = await response.json();
  return String(problem.detail ?? "");
}

/** @param {string} reason */
function fail(reason) {
  failed.textContent = reason || general;
  failed.hidden = false;
}

async function show(folder) {
  listing.setAttribute("aria-busy", "true");
  failed.hidden = true;
  let reason = "";
  try {
    const response = await fetch(`${address}?${new URLSearchParams({ path: folder })}`, {
      cache: "no-store",
    });
    if (!response.ok || response.redirected) {
      reason = await reasonOf(response);
      throw new Error(String(response.status));
    }
    listing.innerHTML = await response.text();
    path = folder;
    shownPath.textContent = `/${folder}`;
    take.disabled = false;
    listing.querySelector("a, button")?.focus();
  } catch {
    listing.replaceChildren();
    fail(reason);
    take.disabled = true;
  } finally {
    listing.removeAttribute("aria-busy");
  }
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
    address = button.dataset.address.replace("UID", uid);
    const typed = target.value.trim().replace(/^\/+/, "");
    show(typed && !typed.endsWith("/") ? `${typed}/` : typed);
  });
}

listing.addEventListener("click", (event) => {
  const folder = event.target.closest("[data-folder]");
  if (!folder) return;
  event.preventDefault();
  show(folder.dataset.folder);
});
listing.addEventListener("submit", async (event) => {
  const form = event.target.closest("[data-new-folder]");
  if (!form) return;
  event.preventDefault();
  event.stopPropagation(); // Several folders can be made one after another.
  failed.hidden = true;
  const response = await fetch(form.action, { method: "POST", body: new FormData(form) });
  if (!response.ok || response.redirected) {
    fail(await reasonOf(response));
    return;
  }
  listing.innerHTML = await response.text();
  path = listing.querySelector("[data-new-folder] [name=path]").value;
  shownPath.textContent = `/${path}`;
});
take.addEventListener("click", () => {
  target.value = path;
  dialog.close();
  target.focus();
});
for (const button of dialog.querySelectorAll("[data-close]"))
  button.addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
