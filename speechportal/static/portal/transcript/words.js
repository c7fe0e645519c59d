// @ts-check
// Lazy rendering of words: elements exist only near the viewport, so that a transcript of three hours opens
// and scrolls at once.

/** @import { Line } from "./types.js" */

/** @typedef {{at: number, length: number, start: number, end: number, unsure: boolean}} Word */

/** @param {Line} line @returns {Word[]} with times from the start of the media, ms */
export function wordsOf(line) {
  return line.words
    .split(" ")
    .filter(Boolean)
    .map((entry) => {
      const [at, length, start, end, unsure] = entry.split(",").map(Number);
      return { at, length, start: line.start + start, end: line.start + end, unsure: unsure === 1 };
    });
}

/** @param {Line} line @param {Element} place */
export function makeWords(line, place) {
  if (place.firstElementChild) return;
  /** @type {(Node | string)[]} */
  const parts = [];
  let at = 0;
  for (const word of wordsOf(line)) {
    if (word.at > at) parts.push(line.text.slice(at, word.at));
    const span = document.createElement("span");
    span.textContent = line.text.slice(word.at, word.at + word.length);
    span.className = word.unsure ? "word unsure" : "word";
    span.dataset.start = String(word.start);
    span.dataset.end = String(word.end);
    parts.push(span);
    at = word.at + word.length;
  }
  parts.push(line.text.slice(at));
  place.replaceChildren(...parts);
}

/** @param {Line} line @param {Element} place */
export function dropWords(line, place) {
  if (!place.firstElementChild || window.getSelection()?.containsNode(place, true)) return;
  place.textContent = line.text;
}
