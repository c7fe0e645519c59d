// @ts-check
// In-place editor of a line. Input is saved after a short delay; Enter splits the line at the caret,
// Backspace at its beginning merges it into the previous line. Keys during the composition of a syllable are
// left to the input method.

/** @import { Line } from "./types.js" */
/** @import { List } from "./list.js" */
/** @import { Store } from "./store.js" */
import { element, notify, text } from "./page.js";
import { Refused } from "./store.js";

const PAUSE = 1200; // ms without typing until it is saved

export class Editor {
  /** @param {Store} store @param {List} list */
  constructor(store, list) {
    this.store = store;
    this.list = list;
    /** @type {HTMLTextAreaElement | null} */ this.area = null;
    this.saved = "";
    this.tag = "";
    this.timer = 0;
    this.composing = false;
    /** @type {Promise<void>} */ this.pending = Promise.resolve();
    window.addEventListener("beforeunload", (event) => {
      if (this.isDirty || store.sending) event.preventDefault();
    });
  }

  get isDirty() {
    return this.area !== null && this.area.value.trim() !== this.saved.trim();
  }

  /** @param {Line | null} line @param {number} [caret] from the beginning; from the end where negative */
  open(line, caret = -1) {
    if (!line || !this.list.editable) return;
    if (this.list.editing === line.id) {
      this.area?.focus();
      return;
    }
    this.close();
    const item = this.list.item(line.id);
    const place = item?.querySelector("p");
    if (!item || !place) return;
    this.list.editing = line.id;
    this.saved = line.text;
    this.tag = line.tag;
    const area = element("textarea", { rows: "1", maxlength: "5000", "aria-label": text("text_of_line") });
    area.value = line.text;
    this.area = area;
    const done = element("button", { type: "button", class: "button small" }, text("done"));
    done.addEventListener("click", () => this.close(true));
    const tools = element("div", { class: "bar tight" }, done);
    if (line.recognised !== undefined) {
      const back = element("button", { type: "button", class: "button small quiet" }, text("as_recognised"));
      back.addEventListener("click", () => {
        area.value = line.recognised ?? "";
        this.fit();
        this.save();
        area.focus();
      });
      tools.append(back);
    }
    const box = element("div", { class: "editor" }, area, tools);
    place.hidden = true;
    place.after(box);
    area.addEventListener("compositionstart", () => {
      this.composing = true;
    });
    area.addEventListener("compositionend", () => {
      this.composing = false;
      this.later();
    });
    area.addEventListener("input", () => {
      this.fit();
      this.later();
    });
    area.addEventListener("blur", () => this.save());
    area.addEventListener("keydown", (event) => this.key(event));
    this.fit();
    area.focus();
    const at = caret < 0 ? area.value.length : caret;
    area.setSelectionRange(at, at);
  }

  fit() {
    if (!this.area) return;
    this.area.style.height = "auto";
    this.area.style.height = `${this.area.scrollHeight + 2}px`;
  }

  later() {
    window.clearTimeout(this.timer);
    if (this.isDirty) this.store.setState("waiting");
    if (!this.composing) this.timer = window.setTimeout(() => this.save(), PAUSE);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.isComposing || event.keyCode === 229 || !this.area) return; // The input method's.
    const { selectionStart, selectionEnd, value } = this.area;
    if (event.key === "Escape" || (event.key === "Enter" && (event.ctrlKey || event.metaKey))) {
      event.preventDefault();
      event.stopPropagation();
      this.close(true);
    } else if (event.key === "Enter" && !event.altKey) {
      event.preventDefault();
      const isAtEnd = value.slice(selectionEnd).trim() === "";
      if (isAtEnd) this.neighbour(1);
      else if (selectionStart > 0) this.split(selectionStart);
    } else if (event.key === "Backspace" && selectionStart === 0 && selectionEnd === 0) {
      event.preventDefault();
      this.mergeIntoPrevious();
    }
  }

  /** @param {number} by */
  neighbour(by) {
    const at = this.store.lines.findIndex((line) => line.id === this.list.editing);
    const line = this.store.lines[at + by];
    if (line) this.open(line, 0);
    else this.close(true);
  }

  /** @returns {Promise<void>} */
  save() {
    window.clearTimeout(this.timer);
    const id = this.list.editing;
    if (!this.area || !id || !this.isDirty || this.composing) return this.pending;
    const { value } = this.area;
    const tag = this.tag;
    this.saved = value;
    this.pending = this.pending.then(async () => {
      // What was saved before has changed the tag.
      const current = this.store.byId.get(id);
      const known = current && current.tag !== tag && this.ours.has(current.tag) ? current.tag : tag;
      try {
        await this.store.send([{ kind: "text", line: id, text: value, tag: known }]);
        const fresh = this.store.byId.get(id);
        if (fresh) this.ours.add(fresh.tag);
        if (fresh && this.list.editing === id) this.tag = fresh.tag;
      } catch (error) {
        if (error instanceof Refused) this.refused(error, id, value);
        else throw error;
      }
    });
    return this.pending;
  }

  /** Tags of lines as this page has saved them. @type {Set<string>} */
  ours = new Set();

  /** @param {boolean} [focus] */
  close(focus = false) {
    const { area } = this;
    const id = this.list.editing;
    if (!area || !id) return;
    this.composing = false;
    this.save();
    const place = area.closest("li")?.querySelector("p");
    const edit = /** @type {HTMLElement | null | undefined} */ (
      area.closest("li")?.querySelector("[data-edit]")
    );
    if (place) {
      place.hidden = false;
      if (this.store.byId.get(id)?.text !== area.value.trim()) place.textContent = area.value.trim();
    }
    this.area = null;
    this.list.editing = null;
    area.closest(".editor")?.remove();
    if (focus) edit?.focus();
  }

  /** @param {number} offset */
  async split(offset) {
    const id = this.list.editing;
    if (!id || !this.area) return;
    const lead = this.area.value.length - this.area.value.trimStart().length;
    const before = new Set(this.store.byId.keys());
    await this.save();
    if (await this.try([{ kind: "split", line: id, offset: offset - lead, tag: this.tagOf(id) }])) {
      if (this.area) this.area.value = this.saved = this.store.byId.get(id)?.text ?? "";
      this.close();
      const made = this.store.lines.find((line) => !before.has(line.id));
      this.open(made ?? null, 0);
    }
  }

  async mergeIntoPrevious() {
    const id = this.list.editing;
    const at = this.store.lines.findIndex((line) => line.id === id);
    if (!id || at < 1) return;
    await this.save();
    const before = this.store.lines[at - 1];
    const caret = before.text.length;
    if (await this.try([{ kind: "merge", line: id, tag: this.tagOf(id) }])) {
      this.area = null;
      this.list.editing = null;
      this.open(this.store.byId.get(before.id) ?? null, caret);
    }
  }

  /** @param {string} id */
  tagOf(id) {
    return this.store.byId.get(id)?.tag ?? null;
  }

  /**
   * Send changes and say why where they are refused.
   * @param {import("./types.js").Change[] | "undo" | "redo"} changes
   * @returns {Promise<boolean>} whether they were made
   */
  async try(changes) {
    try {
      await this.store.send(changes);
      return true;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      notify(error.message);
      this.store.setState("saved");
      await this.store.refresh();
      return false;
    }
  }

  /**
   * Somebody else was first, or the text cannot be saved: both texts are shown, and neither is lost.
   * @param {Refused} error @param {string} id @param {string} mine
   */
  refused(error, id, mine) {
    const theirs = error.conflict?.line ?? null;
    const item = this.list.item(id);
    item?.querySelector(".conflict")?.remove();
    const box = element(
      "div",
      { class: "note bad conflict", role: "alert" },
      element("b", {}, error.message),
    );
    box.append(element("p", {}, text("yours", { text: mine })));
    const end = () => box.remove();
    if (theirs) {
      box.append(element("p", {}, text("theirs", { text: theirs.text })));
      const keep = element("button", { type: "button", class: "button small primary" }, text("keep_yours"));
      keep.addEventListener("click", async () => {
        if (await this.try([{ kind: "text", line: id, text: mine, tag: theirs.tag }])) end();
        if (this.list.editing === id) this.tag = this.tagOf(id) ?? "";
      });
      const take = element("button", { type: "button", class: "button small" }, text("take_theirs"));
      take.addEventListener("click", async () => {
        if (this.list.editing === id && this.area) {
          this.area.value = this.saved = theirs.text;
          this.tag = theirs.tag;
        }
        end();
        await this.store.refresh();
      });
      box.append(element("div", { class: "bar tight" }, keep, take));
    }
    (item ?? this.list.root).append(box);
    this.store.refresh();
  }
}
