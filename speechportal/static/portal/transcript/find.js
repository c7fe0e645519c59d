// @ts-check
// Find and replace in the transcript. Matches are highlighted themselves, not their lines.

/** @import { Editor } from "./editor.js" */
/** @import { List } from "./list.js" */
/** @import { Player } from "./player.js" */
/** @import { Store } from "./store.js" */
import { notify, text } from "./page.js";

/** @typedef {{id: string, at: number, length: number}} Hit */

export class Finder {
  /** @param {HTMLElement} root @param {Store} store @param {List} list @param {Player} player @param {Editor} editor */
  constructor(root, store, list, player, editor) {
    this.store = store;
    this.list = list;
    this.player = player;
    this.editor = editor;
    this.input = /** @type {HTMLInputElement} */ (root.querySelector("[data-find-text]"));
    this.count = /** @type {HTMLElement} */ (root.querySelector("output"));
    this.replacement = /** @type {HTMLInputElement | null} */ (root.querySelector("[data-replace-text]"));
    /** @type {Hit[]} */ this.hits = [];
    this.at = -1;
    this.input.addEventListener("input", () => this.search());
    root.addEventListener("submit", (event) => {
      event.preventDefault();
      this.step(1);
    });
    root.addEventListener("keydown", (event) => {
      if (event.isComposing || event.keyCode === 229) return;
      if (event.key === "Enter" && event.shiftKey) {
        event.preventDefault();
        this.step(-1);
      } else if (event.key === "Escape") {
        event.preventDefault();
        this.leave();
      }
    });
    root.querySelector("[data-previous]")?.addEventListener("click", () => this.step(-1));
    root.querySelector("[data-replace]")?.addEventListener("click", () => this.replace());
    root.querySelector("[data-replace-all]")?.addEventListener("click", () => this.replaceAll());
    list.addEventListener("words", () => this.paint());
    store.addEventListener("lines", () => this.refresh());
  }

  focus() {
    this.input.focus();
    this.input.select();
  }

  leave() {
    this.input.value = "";
    this.search();
    const hit = /** @type {HTMLElement | null} */ (this.list.root.querySelector("li.at-hit .at"));
    if (hit) hit.focus();
    else this.input.blur();
    for (const item of this.list.root.querySelectorAll(".at-hit")) item.classList.remove("at-hit");
  }

  search() {
    this.hits = this.found();
    this.at = -1;
    this.paint();
    this.tell();
  }

  /** After lines have changed: the hit one was at, or the next. */
  refresh() {
    const hit = this.hits[this.at];
    this.hits = this.found();
    this.at = hit ? this.hits.findIndex((each) => each.id === hit.id && each.at === hit.at) : -1;
    this.tell();
  }

  /** @returns {Hit[]} */
  found() {
    const wanted = this.input.value.trim().toLocaleLowerCase();
    if (!wanted) return [];
    return this.store.lines.flatMap((line) => {
      const folded = line.text.toLocaleLowerCase();
      const hits = [];
      for (let at = folded.indexOf(wanted); at >= 0; at = folded.indexOf(wanted, at + wanted.length)) {
        hits.push({ id: line.id, at, length: wanted.length });
      }
      return hits;
    });
  }

  tell() {
    const is = this.input.value.trim() !== "";
    this.count.textContent = is ? `${this.at + 1}/${this.hits.length}` : "";
  }

  /** @param {number} by */
  step(by) {
    if (!this.hits.length) return;
    const first = by > 0 ? 0 : this.hits.length - 1;
    this.at = this.at < 0 ? first : (this.at + by + this.hits.length) % this.hits.length;
    const hit = this.hits[this.at];
    this.player.stopFollowing();
    for (const item of this.list.root.querySelectorAll(".at-hit")) item.classList.remove("at-hit");
    const item = this.list.item(hit.id);
    item?.classList.add("at-hit");
    this.list.words(hit.id);
    item?.scrollIntoView({ block: "center" });
    this.paint();
    this.tell();
  }

  /** Marks the hits of the lines near the window. */
  paint() {
    if (typeof Highlight === "undefined") return; // Then the line of the hit is marked alone.
    const current = this.hits[this.at];
    const [all, one] = [new Highlight(), new Highlight()];
    for (const hit of this.hits) {
      if (hit !== current && !this.list.near.has(hit.id)) continue;
      const place = this.list.item(hit.id)?.querySelector("p");
      const range = place && rangeOf(place, hit.at, hit.length);
      if (range) (hit === current ? one : all).add(range);
    }
    CSS.highlights.set("found", all);
    CSS.highlights.set("found-now", one);
  }

  async replace() {
    if (this.at < 0) this.step(1);
    const hit = this.hits[this.at];
    const line = hit && this.store.byId.get(hit.id);
    if (!line || !this.replacement) return;
    const after = line.text.slice(0, hit.at) + this.replacement.value + line.text.slice(hit.at + hit.length);
    const at = this.at;
    if (await this.editor.try([{ kind: "text", line: line.id, text: after, tag: line.tag }])) {
      this.at = at - 1;
      this.step(1);
    }
  }

  async replaceAll() {
    const find = this.input.value.trim();
    const count = this.hits.length;
    if (!find || !this.replacement || !count) return;
    this.editor.close();
    await this.editor.save();
    if (await this.editor.try([{ kind: "replace", find, text: this.replacement.value }])) {
      notify(text("replaced", { count }));
    }
  }
}

/** @param {Node} place @param {number} at @param {number} length @returns {Range | null} */
function rangeOf(place, at, length) {
  const range = document.createRange();
  const walker = document.createTreeWalker(place, NodeFilter.SHOW_TEXT);
  let offset = 0;
  let started = false;
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const size = node.nodeValue?.length ?? 0;
    if (!started && at < offset + size) {
      range.setStart(node, at - offset);
      started = true;
    }
    if (started && at + length <= offset + size) {
      range.setEnd(node, at + length - offset);
      return range;
    }
    offset += size;
  }
  return null;
}
