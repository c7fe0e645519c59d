// @ts-check
// Menus of a line: its speaker, and its actions.

/** @import { Line } from "./types.js" */
/** @import { Editor } from "./editor.js" */
/** @import { Store } from "./store.js" */
import { copy, element, text } from "./page.js";

/** @typedef {{label: string, act: () => unknown, class?: string, current?: boolean}} Entry */

export class Actions {
  /** @param {Store} store @param {Editor} editor */
  constructor(store, editor) {
    this.store = store;
    this.editor = editor;
    this.menu = element("div", { popover: "auto", class: "line-menu", role: "menu" });
    document.body.append(this.menu);
    this.menu.addEventListener("keydown", (event) => this.key(event));
    /** @type {HTMLElement | null} */ this.opener = null;
    this.menu.addEventListener("toggle", (event) => {
      const { newState } = /** @type {ToggleEvent} */ (event);
      if (newState === "closed" && this.menu.contains(document.activeElement)) this.opener?.focus();
    });
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const entries = /** @type {HTMLElement[]} */ ([...this.menu.children]);
    const at = entries.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const digit = event.code.match(/^(?:Digit|Numpad)(\d)$/)?.[1];
    if (event.code === "ArrowDown") entries[(at + 1) % entries.length]?.focus();
    else if (event.code === "ArrowUp") entries[(at - 1 + entries.length) % entries.length]?.focus();
    else if (digit && entries[Number(digit) - 1]) entries[Number(digit) - 1].click();
    else return;
    event.preventDefault();
  }

  /** @param {Entry[]} entries @param {HTMLElement} opener */
  show(entries, opener) {
    this.opener = opener;
    const buttons = entries.map((entry) => {
      const role = entry.current === undefined ? "menuitem" : "menuitemradio";
      const button = element("button", { type: "button", role, class: entry.class ?? "" }, entry.label);
      if (entry.current !== undefined) button.setAttribute("aria-checked", String(entry.current));
      button.addEventListener("click", () => {
        this.menu.hidePopover();
        opener.focus();
        entry.act();
      });
      return button;
    });
    this.menu.replaceChildren(...buttons);
    this.menu.showPopover();
    const place = opener.getBoundingClientRect();
    const below = place.bottom + this.menu.offsetHeight + 8 < window.innerHeight;
    const left = Math.min(place.left, window.innerWidth - this.menu.offsetWidth - 8);
    this.menu.style.left = `${Math.max(8, left)}px`;
    this.menu.style.top = `${below ? place.bottom + 4 : Math.max(8, place.top - this.menu.offsetHeight - 4)}px`;
    (buttons.find((button) => button.ariaChecked === "true") ?? buttons[0])?.focus();
  }

  /** @param {Line} line @param {HTMLElement} opener */
  speakers(line, opener) {
    const known = this.store.speakers.map((speaker, at) => ({
      label: at < 9 ? `${at + 1}  ${speaker.name}` : speaker.name,
      class: `s${speaker.colour}`,
      current: speaker.label === line.label,
      act: () => this.give(line.id, speaker.label),
    }));
    const fresh = { label: text("new_speaker"), act: () => this.give(line.id, "new") };
    const rename = {
      label: text("rename_speaker"),
      act: () => {
        const field = document.querySelector(`[data-name-of="${CSS.escape(line.label)}"]`);
        if (!(field instanceof HTMLInputElement)) return;
        field.scrollIntoView({ block: "center" });
        field.select();
      },
    };
    this.show([...known, fresh, rename], opener);
  }

  /** @param {Line} line @param {HTMLElement} opener */
  all(line, opener) {
    const isFirst = this.store.lines[0]?.id === line.id;
    /** @type {Entry[]} */
    const entries = [{ label: text("copy_link"), act: () => copy(this.linkTo(line)) }];
    entries.push({ label: text("copy_line"), act: () => copy(line.text) });
    if (line.label) entries.push({ label: text("change_speaker"), act: () => this.speakers(line, opener) });
    if (!isFirst) entries.push({ label: text("merge_before"), act: () => this.merge(line.id) });
    this.show(entries, opener);
  }

  /** @param {Line} line */
  linkTo(line) {
    return `${window.location.origin}${window.location.pathname}#line-${line.id}`;
  }

  /** @param {string} id @param {string} label */
  async give(id, label) {
    await this.editor.save();
    await this.editor.try([{ kind: "speaker", line: id, speaker: label, tag: this.editor.tagOf(id) }]);
  }

  /** @param {string} id */
  async merge(id) {
    this.editor.close();
    await this.editor.save();
    await this.editor.try([{ kind: "merge", line: id, tag: this.editor.tagOf(id) }]);
  }
}
