// @ts-check
// Helpers of the transcript page: translated texts, and creation of elements without HTML in strings.

const texts = JSON.parse(document.querySelector("#transcript-texts")?.textContent ?? "{}");

/**
 * A text of the page in the reader's language; `{name}` is filled in.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 */
export function text(key, values = {}) {
  return String(texts[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string | boolean>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** @param {number} ms */
export function clock(ms) {
  const seconds = Math.floor(ms / 1000);
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const tail = String(rest).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}

/** A short-lived message that screen readers speak. @param {string} message */
export function notify(message) {
  const place = document.querySelector("[data-notice]");
  if (!place) return;
  place.textContent = message;
  window.setTimeout(() => {
    if (place.textContent === message) place.textContent = "";
  }, 4000);
}

/** @param {string} value */
export async function copy(value) {
  try {
    await navigator.clipboard.writeText(value);
    notify(text("copied"));
  } catch {
    notify(text("not_copied")); // Without https there is no clipboard.
  }
}
