// @ts-check
// Speaker panel: names, each saved when its field loses focus, and merging of speakers.

/** @import { Speaker } from "./types.js" */
/** @import { Editor } from "./editor.js" */
/** @import { Store } from "./store.js" */
import { element, text } from "./page.js";

export class Speakers {
  /** @param {HTMLElement} root @param {Store} store @param {Editor} editor */
  constructor(root, store, editor) {
    this.root = root;
    this.store = store;
    this.editor = editor;
    this.shown = "";
    store.addEventListener("lines", () => this.update());
  }

  update() {
    const state = JSON.stringify(this.store.speakers);
    if (state === this.shown) return;
    this.shown = state;
    const focused =
      document.activeElement instanceof HTMLElement ? document.activeElement.dataset.nameOf : undefined;
    const typed = focused ? /** @type {HTMLInputElement} */ (document.activeElement).value : "";
    this.root.replaceChildren(...this.store.speakers.map((speaker) => this.row(speaker)));
    if (focused === undefined) return;
    const field = this.root.querySelector(`[data-name-of="${CSS.escape(focused)}"]`);
    if (!(field instanceof HTMLInputElement)) return;
    field.value = typed;
    field.focus();
  }

  /** @param {Speaker} speaker */
  row(speaker) {
    const label = text("name_of_speaker", { name: speaker.name });
    const name = element("input", {
      "data-name-of": speaker.label,
      value: speaker.given,
      placeholder: text("speaker", { name: speaker.name }),
      "aria-label": label,
      maxlength: "60",
      autocomplete: "off",
    });
    name.addEventListener("change", () => {
      this.editor.try([{ kind: "name", speaker: speaker.label, name: name.value }]);
    });
    name.addEventListener("keydown", (event) => {
      if (event.isComposing || event.keyCode === 229) return;
      if (event.key === "Enter") name.blur();
    });
    const share = element("span", { class: "muted small" }, `${speaker.share} %`);
    const row = element("div", { class: `speaker s${speaker.colour}` }, name, share);
    if (this.store.speakers.length > 1) row.append(this.merging(speaker));
    return row;
  }

  /** @param {Speaker} speaker */
  merging(speaker) {
    const label = text("merge_speaker", { name: speaker.name });
    const choice = element("select", { class: "merge", "aria-label": label, title: label });
    const others = element("optgroup", { label: text("merge_into") });
    for (const other of this.store.speakers) {
      if (other.label !== speaker.label) others.append(element("option", { value: other.label }, other.name));
    }
    choice.addEventListener("keydown", (event) => {
      // In a closed list, these keys choose at once: one could neither look at the others nor turn back.
      if (
        event.altKey ||
        event.ctrlKey ||
        event.metaKey ||
        !/^(Arrow|Key|Digit|Page|Home|End)/.test(event.code)
      )
        return;
      event.preventDefault();
      choice.showPicker?.();
    });
    choice.append(element("option", { value: "", hidden: true }, "⋯"), others);
    choice.addEventListener("change", async () => {
      if (!choice.value) return;
      await this.editor.try([{ kind: "merge_speakers", speaker: speaker.label, into: choice.value }]);
    });
    return choice;
  }
}
