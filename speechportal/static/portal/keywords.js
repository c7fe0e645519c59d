// Keyword table: edits the keywords of a domain as a table. The text area remains the submitted field.

const wrapper = document.querySelector("[data-keywords]");
const separators = /[\n\r,\t]+/;

function words(text, values) {
  return text.replace(/\{(\w+)\}/g, (_all, name) => values[name].toLocaleString());
}

function enhance() {
  const field = wrapper.querySelector("textarea");
  const label = wrapper.querySelector("label");
  const control = field.closest(".control");
  const editor = wrapper.querySelector("[data-table]").content.firstElementChild.cloneNode(true);
  const blank = wrapper.querySelector("[data-row]").content.firstElementChild;
  const asTable = wrapper.querySelector("[data-as-table]");
  const body = editor.querySelector("tbody");
  const search = editor.querySelector("[type=search]");
  const status = editor.querySelector("[role=status]");
  const added = editor.querySelector(".add input");
  const rows = () => [...body.rows];
  const keywordOf = (row) => row.querySelector("input").value.trim().replace(/\s+/g, " ");
  added.id = `${field.id}_add`;
  // By keyword, in small letters: times heard lately, and when it was last accepted and refused.
  const use = JSON.parse(document.getElementById("keyword_use")?.textContent ?? "{}");

  function makeRow(text) {
    const row = blank.cloneNode(true);
    row.querySelector("input").value = text;
    return row;
  }

  function complain(row, text) {
    const input = row.querySelector("input");
    const sentence = row.querySelector(".errorlist");
    if (sentence.textContent === text) return;
    sentence.textContent = text;
    sentence.hidden = !text;
    sentence.id = text ? `${field.id}_${row.rowIndex}_error` : "";
    input.setAttribute("aria-invalid", String(Boolean(text)));
    if (text) input.setAttribute("aria-describedby", sentence.id);
    else input.removeAttribute("aria-describedby");
  }

  // Numbers, problems, what is shown and what is sent, after any change.
  function refresh() {
    const { limit, length, tooLong, twice, count } = wrapper.dataset;
    const wanted = search.value.trim().toLowerCase();
    const seen = new Map();
    let number = 0;
    for (const row of rows()) {
      const text = keywordOf(row);
      const key = text.toLowerCase();
      number += 1;
      row.cells[0].textContent = number;
      row.querySelector("input").setAttribute("aria-label", `${label.textContent.trim()} ${number}`);
      row
        .querySelector("button")
        .setAttribute("aria-label", `${row.querySelector("button").textContent} ${text}`);
      row.hidden = !key.includes(wanted);
      for (const [place, cell] of row.querySelectorAll("[data-use]").entries()) {
        cell.textContent = Object.hasOwn(use, key) ? use[key][place] : "";
      }
      const letters = [...text].length;
      if (letters > Number(length)) complain(row, words(tooLong, { limit: Number(length), count: letters }));
      else if (text && seen.has(key)) complain(row, words(twice, { line: seen.get(key) }));
      else complain(row, "");
      if (text && !seen.has(key)) seen.set(key, number);
    }
    status.textContent = words(count, { count: seen.size, limit: Number(limit) });
    status.classList.toggle("bad", seen.size > Number(limit));
    field.value = rows().map(keywordOf).join("\n");
  }

  function fill(text) {
    body.replaceChildren(...split(text).map(makeRow));
    refresh();
  }

  function split(text) {
    return text
      .split(separators)
      .map((each) => each.trim())
      .filter(Boolean);
  }

  function add(pasted = "") {
    const found = split(`${added.value}${pasted}`);
    if (!found.length) return;
    body.append(...found.map(makeRow));
    added.value = "";
    search.value = "";
    refresh();
    body.lastElementChild.scrollIntoView({ block: "nearest" });
    added.focus();
  }

  function show(table) {
    editor.hidden = !table;
    control.hidden = table;
    asTable.hidden = table;
    label.htmlFor = table ? added.id : field.id;
    if (table) fill(field.value);
  }

  function remove(row) {
    const next = row.nextElementSibling || row.previousElementSibling;
    row.remove();
    refresh();
    (next ? next.querySelector("button") : added).focus();
  }

  body.addEventListener("input", refresh);
  body.addEventListener("change", (event) => {
    const row = event.target.closest("tr");
    const found = split(event.target.value);
    if (found.length > 1) row.replaceWith(...found.map(makeRow));
    else if (!found.length) row.remove();
    refresh();
  });
  body.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.target.type !== "text" || event.isComposing) return;
    event.preventDefault();
    added.focus();
  });
  body.addEventListener("click", (event) => {
    if (event.target.closest("button")) remove(event.target.closest("tr"));
  });
  search.addEventListener("input", refresh);
  search.addEventListener("keydown", (event) => event.key === "Enter" && event.preventDefault());
  added.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return; // A syllable that is being composed ends with it too.
    event.preventDefault();
    add();
  });
  added.addEventListener("paste", (event) => {
    const text = event.clipboardData.getData("text");
    if (!separators.test(text.trim())) return;
    event.preventDefault();
    add(text); // Not by way of the input, which would lose the ends of lines.
  });
  editor.querySelector(".add button").addEventListener("click", () => add());
  editor.querySelector("[data-as-text]").addEventListener("click", () => {
    show(false);
    field.focus();
  });
  asTable.addEventListener("click", () => {
    show(true);
    added.focus();
  });
  field.form.addEventListener("submit", () => editor.hidden || add());
  control.after(editor);
  show(!field.value.includes(",")); // What is said about its lines is about the lines of the text.
}

if (wrapper) enhance();
