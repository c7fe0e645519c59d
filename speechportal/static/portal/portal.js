// Progressive enhancement of every page: dialogs and live updates. Each page works without it; nothing is
// inline, so that the Content-Security-Policy can stay strict.

// --- Dialogs: a link or form with data-dialog shows the page it leads to in a <dialog> -----------------

async function openDialog(address, opener, { method = "GET", values = {} } = {}) {
  const dialog = document.createElement("dialog");
  document.body.append(dialog);
  const part = { select: "[data-dialog-body]", swap: "innerHTML ignoreTitle:true" };
  try {
    await window.htmx.ajax(method, address, { source: dialog, target: dialog, values, ...part });
  } finally {
    // Signed out meanwhile, or a fault: shown as it is.
    if (!dialog.querySelector("[data-dialog-title]")) dialog.remove();
  }
  if (!dialog.isConnected) {
    window.location.assign(address);
    return;
  }
  const title = dialog.querySelector("[data-dialog-title]");
  title.id = "dialog-title";
  title.tabIndex = -1;
  title.autofocus = true;
  dialog.setAttribute("aria-labelledby", title.id);
  for (const link of dialog.querySelectorAll("[data-dialog-cancel]")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      dialog.close();
    });
  }
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => {
    dialog.remove();
    opener?.focus();
  });
  dialog.showModal();
}

async function withBusy(element, work) {
  element?.setAttribute("aria-busy", "true");
  try {
    await work();
  } finally {
    element?.removeAttribute("aria-busy");
  }
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-dialog]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  withBusy(link, () => openDialog(link.href, link)).catch(() => window.location.assign(link.href));
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  const check = event.submitter?.closest("[data-check]");
  if (check) {
    // Only what is to be tried goes along: the form itself stays as it is, behind the dialog.
    event.preventDefault();
    const names = check.dataset.check.split(" ");
    const values = Object.fromEntries(names.map((name) => [name, form.elements[name]?.value ?? ""]));
    let address = check.getAttribute("formaction");
    if (check.formMethod === "post") {
      const { csrfmiddlewaretoken } = form.elements;
      const sent = { method: "POST", values: { ...values, csrfmiddlewaretoken: csrfmiddlewaretoken.value } };
      withBusy(check, () => openDialog(address, check, sent)).catch(() => window.location.assign(address));
    } else {
      address += `?${new URLSearchParams(values)}`;
      withBusy(check, () => openDialog(address, check)).catch(() => window.location.assign(address));
    }
    return;
  }
  if (form.matches("form[data-dialog]") && !event.submitter?.matches("[data-downloads]")) {
    event.preventDefault();
    const action = event.submitter?.getAttribute("formaction") ?? form.getAttribute("action");
    const address = `${action}?${new URLSearchParams(new FormData(form))}`;
    withBusy(event.submitter, () => openDialog(address, event.submitter)).catch(() => form.submit());
  } else if (form.method === "post" && !form.hasAttribute("hx-post")) {
    // Once is enough; the answer is a new page.
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
    event.submitter?.setAttribute("aria-busy", "true");
  }
});

window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  for (const button of document.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
  // After Back, browsers bring back what was chosen; the list beside it is the one of the address.
  for (const select of document.querySelectorAll("select[data-submits]")) {
    for (const option of select.options) option.selected = option.defaultSelected;
  }
});

// --- Live updates: htmx requests #live again and idiomorph changes what differs --------------------------

const live = document.querySelector("#live");
const withoutTokens = (html) => html.replace(/(name="csrfmiddlewaretoken" value=")[^"]*/g, "$1").trim();
let lastHtml = "";
let kept = { chosen: [], focused: "" };

document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.detail.elt !== live || event.detail.requestConfig.triggeringEvent?.type === "refresh") return;
  if (document.hidden || document.querySelector("dialog[open]")) event.preventDefault();
});

document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target !== live) return;
  const { xhr } = event.detail;
  const elsewhere = new URL(xhr.responseURL || window.location.href).pathname !== window.location.pathname;
  if (elsewhere || xhr.status === 403 || xhr.status === 404) {
    event.detail.shouldSwap = false; // Signed out, or deleted meanwhile.
    window.location.reload();
    return;
  }
  const html = withoutTokens(event.detail.serverResponse);
  if (html === lastHtml) event.detail.shouldSwap = false;
  lastHtml = html;
  kept = {
    chosen: [...live.querySelectorAll("input:checked")].map((input) => input.id),
    focused: live.contains(document.activeElement) ? document.activeElement.id : "",
  };
});

document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target !== live) return;
  for (const id of kept.chosen) {
    const box = id && document.getElementById(id);
    if (box) box.checked = true;
  }
  if (kept.focused) document.getElementById(kept.focused)?.focus({ preventScroll: true });
  updateSelection();
});

// A page that can't be refreshed says so, and since when; the next answer takes the notice away.
const stale = document.querySelector("#stale");
function showStale(sentence) {
  if (!stale?.hidden) return;
  const time = new Date().toLocaleTimeString(document.documentElement.lang, { timeStyle: "short" });
  stale.textContent = sentence.replace("{time}", time);
  stale.hidden = false;
}

document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.elt !== live) return;
  for (const link of document.querySelectorAll("[data-refresh]")) link.removeAttribute("aria-busy");
  const { status } = event.detail.xhr;
  if (status === 0) showStale(stale.dataset.offline);
  else if (status >= 500) showStale(stale.dataset.fault);
  else if (stale) stale.hidden = true;
});

window.addEventListener("online", () => live && window.htmx?.trigger(live, "refresh"));

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-refresh]");
  if (!link || !live || !window.htmx || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  link.setAttribute("aria-busy", "true");
  window.htmx.trigger(live, "refresh");
});

// --- Miscellaneous --------------------------------------------------------------------------------------

function updateSelection() {
  const boxes = [...document.querySelectorAll('input[type="checkbox"][form="selection"]')];
  const chosen = boxes.filter((box) => box.checked).length;
  for (const button of document.querySelectorAll("[data-needs-selection]")) button.disabled = chosen === 0;
  const all = document.querySelector("[data-select-all]");
  if (all) {
    all.checked = chosen > 0 && chosen === boxes.length;
    all.indeterminate = chosen > 0 && chosen < boxes.length;
  }
}

document.addEventListener("change", (event) => {
  const control = event.target;
  if (control.matches("[data-select-all]")) {
    for (const box of document.querySelectorAll('input[form="selection"]')) box.checked = control.checked;
  }
  if (control.matches("[data-select-all], [form=selection]")) updateSelection();
  if (control.matches("[data-submits]")) control.form.requestSubmit();
});

document.addEventListener("click", async (event) => {
  const copy = event.target.closest("[data-copy]");
  if (!copy) return;
  try {
    await navigator.clipboard.writeText(copy.dataset.copy);
  } catch {
    // Without https there is no clipboard.
    window.getSelection().selectAllChildren(copy.closest(".secret")?.querySelector("code") ?? copy);
    return;
  }
  copy.dataset.copied = "yes";
  window.setTimeout(() => delete copy.dataset.copied, 1500);
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
  for (const tip of document.querySelectorAll(".has-tip:hover, .has-tip:focus-within"))
    tip.classList.add("dismissed");
});
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
for (const kind of ["pointerover", "focusin"]) {
  document.addEventListener(kind, (event) => {
    for (const tip of document.querySelectorAll(".has-tip.dismissed")) {
      if (!tip.contains(event.target)) tip.classList.remove("dismissed");
    }
  });
}

for (const element of document.querySelectorAll("[data-hidden-by-script]")) element.hidden = true;
updateSelection();
document.querySelector("#errors")?.focus();
const rail = document.querySelector(".rail nav"); // On a phone it scrolls: to where one is.
const here = rail?.querySelector("[aria-current]");
if (here) rail.scrollLeft = here.offsetLeft - rail.clientWidth / 2;
