// @ts-check
// Upload of recordings on a batch's page. The files go straight to the storage by addresses that the portal
// signs, large ones in parts. An upload that broke off goes on with the part it had reached, also after the
// page was closed, when the same file is chosen again.

import { AwsS3, getDroppedFiles, Uppy } from "../vendor/uppy/uppy.min.js";

const PLANNED_AT_ONCE = 50;
const PARTS_FROM = 32 * 1024 * 1024; // bytes: smaller files go in one request
const PART = 16 * 1024 * 1024; // bytes
const FILES_AT_ONCE = 3;
const SETTLED = new Set(["done", "refused", "skipped", "cancelled"]);

const section = /** @type {HTMLElement} */ (document.querySelector("#upload"));
const find = (/** @type {string} */ name) =>
  /** @type {HTMLElement} */ (section.querySelector(`[data-upload-${name}]`));
const list = find("list");
const summary = find("summary");
const total = /** @type {HTMLProgressElement} */ (find("total"));
const cancelAll = /** @type {HTMLButtonElement} */ (find("cancel"));
const folder = /** @type {HTMLInputElement} */ (find("folder"));
const question = /** @type {HTMLDialogElement} */ (document.querySelector("#upload-question"));
const rowTemplate = /** @type {HTMLTemplateElement} */ (document.querySelector("#upload-row"));
const text = section.dataset;
const limit = Number(text.limit);
const takesParts = text.parts === "yes";
const endings = new Set((text.endings ?? "").split(" "));

/**
 * @typedef {object} Row
 * @property {string} path below the input path
 * @property {File} file
 * @property {"planned" | "sending" | "broken" | "done" | "refused" | "skipped" | "cancelled"} state
 * @property {number} sent bytes
 * @property {boolean} replace
 * @property {string} id of Uppy, once it was handed over
 * @property {HTMLElement} element
 */

/** @type {Map<string, Row>} by path */
const rows = new Map();
const quiet = { debug() {}, warn() {}, error() {} }; // What goes wrong is shown at its file.
const uppy = new Uppy({ autoProceed: false, logger: quiet });
uppy.use(AwsS3, {
  shouldUseMultipart: (/** @type {{ size: number | null }} */ file) =>
    takesParts && (file.size ?? 0) > PARTS_FROM,
  getChunkSize: () => PART,
  limit: FILES_AT_ONCE,
  generateObjectKey: (/** @type {{ meta: { path: string } }} */ file) => file.meta.path,
  signRequest,
});

/**
 * @param {string | undefined} address
 * @param {object} body
 */
async function ask(address, body) {
  const token = /** @type {HTMLInputElement} */ (section.querySelector("[name=csrfmiddlewaretoken]")).value;
  const response = await fetch(String(address), {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRFToken": token },
    body: JSON.stringify(body),
  });
  const answer = response.headers.get("Content-Type")?.startsWith("application/json")
    ? await response.json()
    : {};
  if (!response.ok || response.redirected) throw new Error(answer.message ?? text.textSession);
  return answer;
}

/** @param {any} request as Uppy describes it: its method and IDs say which step it is */
function signRequest(request) {
  const { method, key, uploadId = "", partNumber = 0 } = request;
  let step = uploadId ? "part" : "put";
  if (method === "GET") step = "list";
  if (method === "DELETE") step = "abort";
  if (method === "POST") step = uploadId ? "complete" : "create";
  const replace = rows.get(key)?.replace ?? false;
  return ask(text.sign, { name: key, step, upload_id: uploadId, part_number: partNumber, replace });
}

// --- Where an upload had got to, for the same file chosen again ------------------------------------------

/** @param {Row} row */
const memoryOf = (row) => `upload:${text.batch}:${row.path}:${row.file.size}:${row.file.lastModified}`;

/** @param {Row} row */
function remembered(row) {
  try {
    return JSON.parse(localStorage.getItem(memoryOf(row)) ?? "null");
  } catch {
    return null;
  }
}

/**
 * @param {Row} row
 * @param {object | undefined} state of the multipart upload; none forgets it
 */
function remember(row, state) {
  try {
    if (state) localStorage.setItem(memoryOf(row), JSON.stringify(state));
    else localStorage.removeItem(memoryOf(row));
  } catch {
    // Without storage of its own, the browser starts such an upload anew.
  }
}

// --- From chosen files to uploads ------------------------------------------------------------------------

/** @param {Iterable<File>} files */
async function add(files) {
  const prefix = folder.value.trim().replace(/^\/+|\/+$/g, "");
  /** @type {Row[]} */
  const chosen = [];
  for (const file of files) {
    const inner = /** @type {any} */ (file).relativePath || file.webkitRelativePath || file.name;
    const path = [prefix, inner.replace(/^\/+/, "")].filter(Boolean).join("/").normalize("NFC");
    const known = rows.get(path);
    if (known && !SETTLED.has(known.state)) continue;
    known?.element.remove();
    const row = newRow(path, file);
    const refusal = refusalOf(path, file.size);
    if (refusal) show(row, "refused", refusal);
    else chosen.push(row);
  }
  showTotal();
  for (let start = 0; start < chosen.length; start += PLANNED_AT_ONCE) {
    await plan(chosen.slice(start, start + PLANNED_AT_ONCE));
  }
  send();
}

/**
 * @param {string} path
 * @param {number} size bytes
 */
function refusalOf(path, size) {
  if (!endings.has(path.slice(path.lastIndexOf(".")).toLowerCase())) return text.textEnding;
  if (!size) return text.textEmpty;
  return size > limit ? text.textLarge : "";
}

/** @param {Row[]} chosen */
async function plan(chosen) {
  let planned;
  try {
    const files = chosen.map((row) => ({ name: row.path, size: row.file.size }));
    planned = (await ask(text.plan, { files })).files;
  } catch (error) {
    for (const row of chosen) show(row, "refused", /** @type {Error} */ (error).message);
    return;
  }
  /** @type {Row[]} */
  const there = [];
  for (const [index, row] of chosen.entries()) {
    const { code, message } = planned[index];
    if (code === "upload_exists") there.push(row);
    else if (code) show(row, "refused", message);
    else handOver(row);
  }
  if (there.length) await decide(there);
}

/** @param {Row[]} there rows whose names are taken in the storage */
async function decide(there) {
  const names = /** @type {HTMLElement} */ (question.querySelector("[data-names]"));
  names.replaceChildren(
    ...there.map((row) => {
      const item = document.createElement("li");
      item.textContent = row.path;
      return item;
    }),
  );
  question.returnValue = "";
  question.showModal();
  await new Promise((resolve) => question.addEventListener("close", resolve, { once: true }));
  for (const row of there) {
    if (question.returnValue === "replace") {
      row.replace = true;
      handOver(row);
    } else if (question.returnValue === "both") {
      rename(row);
    } else {
      show(row, "skipped", text.textSkipped);
    }
  }
  const renamed = there.filter((row) => row.state === "planned" && !row.id);
  if (renamed.length) await plan(renamed);
}

/** @param {Row} row its name gets the next free number: "call (2).mp3" */
function rename(row) {
  const dot = row.path.lastIndexOf(".");
  const stem = row.path.slice(0, dot).replace(/ \((\d+)\)$/, "");
  const given = Number(/ \((\d+)\)$/.exec(row.path.slice(0, dot))?.[1] ?? 1);
  let number = given + 1;
  const next = () => `${stem} (${number})${row.path.slice(dot)}`;
  while (rows.has(next())) number += 1;
  rows.delete(row.path);
  row.path = next();
  rows.set(row.path, row);
  /** @type {HTMLElement} */ (row.element.querySelector("[data-name]")).textContent = row.path;
}

/** @param {Row} row */
function handOver(row) {
  row.id = uppy.addFile({
    name: row.path,
    type: row.file.type,
    data: row.file,
    meta: { path: row.path, relativePath: row.path },
  });
  const state = takesParts && row.file.size > PARTS_FROM ? remembered(row) : null;
  if (state) uppy.setFileState(row.id, { s3Multipart: state });
  show(row, "sending", "");
}

function send() {
  if (uppy.getFiles().some((file) => !file.progress.uploadStarted)) uppy.upload().catch(() => {}); // shown per file
}

// --- What becomes of them --------------------------------------------------------------------------------

/** @param {{ id: string } | undefined} file */
const rowOf = (file) => [...rows.values()].find((row) => file && row.id === file.id);

uppy.on("upload-progress", (/** @type {any} */ file, /** @type {any} */ progress) => {
  const row = rowOf(file);
  if (!row) return;
  row.sent = Math.min(progress.bytesUploaded ?? 0, row.file.size);
  show(row, "sending", "");
});
uppy.on("s3-multipart:part-uploaded", (/** @type {any} */ file) => {
  const row = rowOf(file);
  if (row) remember(row, /** @type {any} */ (uppy.getFile(file.id))?.s3Multipart);
});
uppy.on("upload-success", async (/** @type {any} */ file) => {
  const row = rowOf(file);
  if (!row) return;
  remember(row, undefined);
  row.sent = row.file.size;
  try {
    const task = await ask(text.finish, { name: row.path });
    show(row, "done", text.textDone);
    const name = /** @type {HTMLElement} */ (row.element.querySelector("[data-name]"));
    const link = document.createElement("a");
    link.href = task.url;
    link.textContent = row.path;
    name.replaceChildren(link);
  } catch {
    show(row, "done", text.textFound); // The file is there: the next poll finds it.
  }
  /** @type {any} */ (window).htmx?.trigger("#live", "refresh");
});
uppy.on("upload-error", (/** @type {any} */ file, /** @type {any} */ error) => {
  const row = rowOf(file);
  if (!row || row.state === "cancelled") return;
  const source = /** @type {any} */ (error)?.source ?? /** @type {any} */ (error)?.request;
  if (remembered(row) && source?.status === 404) {
    // The storage has dropped the parts of an old upload.
    remember(row, undefined);
    uppy.setFileState(row.id, { s3Multipart: undefined });
    uppy.retryUpload(row.id);
    return;
  }
  const unanswered = !source || source.status === 0;
  show(row, "broken", unanswered ? text.textBroken : error.message || String(text.textBroken));
});
window.addEventListener("online", () => {
  for (const row of rows.values()) if (row.state === "broken") retry(row);
});
window.addEventListener("beforeunload", (event) => {
  if ([...rows.values()].some((row) => row.state === "sending")) event.preventDefault();
});

/** @param {Row} row */
function retry(row) {
  show(row, "sending", "");
  uppy.retryUpload(row.id).catch(() => {}); // shown per file
}

/** @param {Row} row */
function cancel(row) {
  if (SETTLED.has(row.state)) return;
  show(row, "cancelled", text.textCancelled);
  remember(row, undefined);
  if (row.id) uppy.removeFile(row.id);
}

// --- What is seen ----------------------------------------------------------------------------------------

/**
 * @param {string} path
 * @param {File} file
 * @returns {Row}
 */
function newRow(path, file) {
  const element = /** @type {HTMLElement} */ (rowTemplate.content.firstElementChild?.cloneNode(true));
  /** @type {HTMLElement} */ (element.querySelector("[data-name]")).textContent = path;
  /** @type {Row} */
  const row = { path, file, state: "planned", sent: 0, replace: false, id: "", element };
  element.querySelector("[data-cancel]")?.addEventListener("click", () => cancel(row));
  element.querySelector("[data-retry]")?.addEventListener("click", () => retry(row));
  rows.set(path, row);
  list.append(element);
  return row;
}

/**
 * @param {Row} row
 * @param {Row["state"]} state
 * @param {string | undefined} message
 */
function show(row, state, message) {
  row.state = state;
  row.element.dataset.state = state;
  const bar = /** @type {HTMLProgressElement} */ (row.element.querySelector("progress"));
  bar.max = row.file.size || 1;
  bar.value = row.sent;
  bar.hidden = state !== "sending";
  const percent = Math.floor((100 * row.sent) / (row.file.size || 1));
  /** @type {HTMLElement} */ (row.element.querySelector("[data-message]")).textContent =
    message || (state === "sending" ? `${percent} %` : "");
  /** @type {HTMLElement} */ (row.element.querySelector("[data-cancel]")).hidden = SETTLED.has(state);
  /** @type {HTMLElement} */ (row.element.querySelector("[data-retry]")).hidden = state !== "broken";
  showTotal();
}

function showTotal() {
  const all = [...rows.values()];
  const sending = all.filter((row) => !["refused", "skipped", "cancelled"].includes(row.state));
  const done = sending.filter((row) => row.state === "done");
  find("queue").hidden = all.length === 0;
  total.max = sending.reduce((sum, row) => sum + row.file.size, 0) || 1;
  total.value = sending.reduce((sum, row) => sum + row.sent, 0);
  total.hidden = sending.length === done.length;
  summary.textContent = (text.textSummary ?? "")
    .replace("DONE", String(done.length))
    .replace("ALL", String(sending.length));
  cancelAll.hidden = all.every((row) => SETTLED.has(row.state));
}

// --- Ways to choose --------------------------------------------------------------------------------------

for (const input of /** @type {NodeListOf<HTMLInputElement>} */ (
  section.querySelectorAll("input[type=file]")
)) {
  input.addEventListener("change", () => {
    add([...(input.files ?? [])]);
    input.value = ""; // so that the same file can be chosen again
  });
}
for (const button of /** @type {NodeListOf<HTMLElement>} */ (section.querySelectorAll("[data-opens]"))) {
  button.addEventListener("click", () => document.getElementById(button.dataset.opens ?? "")?.click());
}
cancelAll.addEventListener("click", () => {
  for (const row of rows.values()) cancel(row);
});

let inside = 0; // dragenter and dragleave also come from every element within
const carriesFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files");
document.addEventListener("dragenter", (event) => {
  if (!carriesFiles(event)) return;
  inside += 1;
  section.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!carriesFiles(event)) return;
  inside -= 1;
  if (inside <= 0) section.classList.remove("over");
});
document.addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
document.addEventListener("drop", async (event) => {
  if (!carriesFiles(event) || !event.dataTransfer) return;
  event.preventDefault();
  inside = 0;
  section.classList.remove("over");
  add(await getDroppedFiles(event.dataTransfer));
});

section.hidden = false;
