// @ts-check
// List of lines: one element per line, synchronised with the store; words only near the viewport.

/** @import { Line } from "./types.js" */
/** @import { Store } from "./store.js" */
import { clock, element, text } from "./page.js";
import { dropWords, makeWords } from "./words.js";

export class List extends EventTarget {
  /** @param {HTMLElement} root @param {Store} store @param {boolean} editable */
  constructor(root, store, editable) {
    super();
    this.root = root;
    this.store = store;
    this.editable = editable;
    /** @type {Map<string, HTMLElement>} */ this.items = new Map();
    /** @type {Set<string>} */ this.near = new Set();
    /** @type {string | null} */ this.editing = null; // Its text is the editor's.
    /** @type {string | null} */ this.kept = null; // Its words stay, wherever it is.
    /** @type {Map<Element, boolean>} */
    const passing = new Map();
    // Only once there is time: what a fast scroll passes by costs nothing.
    const whenIdle = window.requestIdleCallback ?? ((work) => window.setTimeout(work, 50));
    this.observer = new IntersectionObserver(
      (entries) => {
        if (!passing.size) {
          whenIdle(
            () => {
              for (const [item, isNear] of passing) this.settle(/** @type {HTMLElement} */ (item), isNear);
              passing.clear();
              this.dispatchEvent(new Event("words"));
            },
            { timeout: 500 },
          );
        }
        for (const entry of entries) passing.set(entry.target, entry.isIntersecting);
      },
      { rootMargin: "400px" },
    );
    store.addEventListener("lines", (event) => this.update(/** @type {CustomEvent} */ (event).detail));
  }

  /** @param {string} id */
  item(id) {
    return this.items.get(id) ?? null;
  }

  /** @param {Element | null} inside @returns {Line | null} */
  lineAround(inside) {
    const item = inside?.closest("li[data-id]");
    return item instanceof HTMLElement ? (this.store.byId.get(item.dataset.id ?? "") ?? null) : null;
  }

  /** @param {string} id @returns {HTMLElement | null} */
  words(id) {
    const line = this.store.byId.get(id);
    const place = this.item(id)?.querySelector("p");
    if (!line || !(place instanceof HTMLElement)) return null;
    makeWords(line, place);
    return place;
  }

  /** @param {HTMLElement} item @param {boolean} isNear */
  settle(item, isNear) {
    const line = this.store.byId.get(item.dataset.id ?? "");
    const place = item.querySelector("p");
    if (!line || !place) return;
    if (isNear) this.near.add(line.id);
    else this.near.delete(line.id);
    if (isNear) makeWords(line, place);
    else if (line.id !== this.kept) dropWords(line, place);
  }

  /** @param {{changed: Set<string>, renamed: boolean}} detail */
  update({ changed, renamed }) {
    // One width for all lines, so that their texts begin at one edge.
    const longest = Math.max(0, ...this.store.speakers.map((speaker) => speaker.name.length));
    this.root.style.setProperty("--who", longest ? `${Math.min(Math.max(longest, 3), 16) + 1}ch` : "0");
    for (const [id, item] of this.items) {
      if (this.store.byId.has(id)) continue;
      this.observer.unobserve(item);
      item.remove();
      this.items.delete(id);
      this.near.delete(id);
    }
    /** @type {Element | null} */
    let before = null;
    const fresh = document.createDocumentFragment();
    const isFirst = this.items.size === 0;
    for (const line of this.store.lines) {
      let item = this.items.get(line.id);
      if (!item) {
        item = element("li", { id: `line-${line.id}`, "data-id": line.id });
        this.items.set(line.id, item);
        this.fill(item, line);
        if (isFirst) fresh.append(item);
        else if (before) before.after(item);
        else this.root.prepend(item);
        this.observer.observe(item);
      } else if (changed.has(line.id)) this.fill(item, line);
      else if (renamed) this.fillSpeaker(item, line);
      before = item;
    }
    if (isFirst) this.root.append(fresh);
    this.dispatchEvent(new Event("words"));
  }

  /** @param {HTMLElement} item @param {Line} line */
  fill(item, line) {
    item.dataset.start = String(line.start);
    item.classList.toggle("edited", line.recognised !== undefined);
    if (!item.firstElementChild) {
      const at = element("a", { class: "at", href: `#line-${line.id}` });
      const who = element(this.editable ? "button" : "span", { class: "who" });
      if (this.editable) who.setAttribute("type", "button");
      item.append(at, who, element("p"), element("span", { class: "marks" }));
    }
    // By name: an editor or a conflict may stand between them.
    const part = (/** @type {string} */ name) =>
      /** @type {Element} */ (item.querySelector(`:scope > ${name}`));
    const [at, place, marks] = [part(".at"), part("p"), part(".marks")];
    at.textContent = clock(line.start);
    this.fillSpeaker(item, line);
    place.textContent = line.text;
    if (this.near.has(line.id) || line.id === this.kept) makeWords(line, place);
    marks.replaceChildren(...this.marks(line));
  }

  /** @param {HTMLElement} item @param {Line} line */
  fillSpeaker(item, line) {
    const who = /** @type {HTMLElement} */ (item.querySelector(".who"));
    const speaker = this.store.speaker(line.label);
    who.hidden = !line.label;
    who.textContent = speaker?.name ?? line.label;
    who.title = who.textContent;
    who.className = `who s${speaker?.colour ?? 0}`;
  }

  /** @param {Line} line */
  marks(line) {
    const made = [];
    const flag = line.flags?.includes("repetition") ? "repetition" : "unsure";
    if (line.flags?.includes("repetition") || line.flags?.includes("low_confidence")) {
      made.push(element("span", { class: "mark", title: text(`${flag}_help`) }, text(flag)));
    }
    if (line.recognised !== undefined) {
      const title = text("recognised_as", { text: line.recognised });
      made.push(element("span", { class: "mark corrected", title }, text("corrected")));
    }
    if (this.editable) {
      const hidden = element("span", { class: "visually-hidden" }, ` ${clock(line.start)}`);
      made.push(
        element("button", { type: "button", class: "edit", "data-edit": true }, text("correct"), hidden),
      );
      const label = text("actions_of", { time: clock(line.start) });
      made.push(
        element("button", { type: "button", class: "edit", "data-actions": true, "aria-label": label }, "⋯"),
      );
    }
    return made;
  }
}
