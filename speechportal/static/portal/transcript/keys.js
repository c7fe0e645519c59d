// @ts-check
// Keyboard shortcuts by physical key (event.code), so that they work with any layout and in Hangul mode.
// In text fields and lists the same keys work with Alt. The player, checkboxes and the list of speeds have uses
// for arrows and digits alone, so letters and signs work there too.

/** @typedef {Record<string, () => void>} Keys */

const TAKES_KEYS = "input:not([type=checkbox]), textarea, select:not([data-speed]), [contenteditable]";
const TAKES_ARROWS = "input, select, audio, video";

/** @param {Element} target @param {string} name whether the element itself does something with the key */
function isTaken(target, name) {
  return target.closest(/^(Arrow|Digit)/.test(name) ? TAKES_ARROWS : TAKES_KEYS) !== null;
}

/** @param {Keys} plain alone, outside of fields @param {Keys} always with Alt, in fields too @param {Keys} command with Ctrl or Cmd */
export function listen(plain, always, command) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || (event.isComposing && !event.altKey)) return;
    const target = event.target instanceof Element ? event.target : document.body;
    if (target.closest("dialog[open], [popover]")) return;
    const name = event.shiftKey ? `Shift+${event.code}` : event.code;
    let act;
    if (event.altKey && !event.ctrlKey && !event.metaKey) act = always[name];
    else if (event.ctrlKey || event.metaKey)
      act = isTaken(target, name) || event.altKey ? undefined : command[name];
    else if (!isTaken(target, name)) act = plain[name];
    if (!act) return;
    event.preventDefault();
    act();
  });
}
