// @ts-check
// Keys by their place on the keyboard (event.code), so that they work under any layout and in Hangul mode.
// While one types, the same keys work with Alt.

/** @typedef {Record<string, () => void>} Keys */

/** @param {Keys} plain alone, outside of fields @param {Keys} always with Alt, in fields too @param {Keys} command with Ctrl or Cmd */
export function listen(plain, always, command) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || (event.isComposing && !event.altKey)) return;
    const target = event.target instanceof Element ? event.target : document.body;
    if (target.closest("dialog[open], [popover]")) return;
    const isField = target.closest("input, textarea, select, audio, video, [contenteditable]") !== null;
    const name = event.shiftKey ? `Shift+${event.code}` : event.code;
    let act;
    if (event.altKey && !event.ctrlKey && !event.metaKey) act = always[name];
    else if (event.ctrlKey || event.metaKey) act = isField || event.altKey ? undefined : command[name];
    else if (!isField) act = plain[name];
    if (!act) return;
    event.preventDefault();
    act();
  });
}
