// @ts-check
// Player settings in the browser's local storage: speed and volume for all recordings, position for each.

const PREFIX = "speechportal.player.";
const POSITIONS = 200; // The oldest are forgotten.

/** @param {string} name @returns {unknown} */
function read(name) {
  try {
    return JSON.parse(window.localStorage.getItem(PREFIX + name) ?? "null");
  } catch {
    return null; // Storage is forbidden or full of something else: nothing is remembered.
  }
}

/** @param {string} name @param {unknown} value */
function write(name, value) {
  try {
    window.localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // Storage is forbidden or full.
  }
}

/** @param {string} name @param {number} otherwise */
export function recall(name, otherwise) {
  const value = read(name);
  return typeof value === "number" && Number.isFinite(value) ? value : otherwise;
}

/** @param {string} name @param {number} value */
export function remember(name, value) {
  write(name, value);
}

/** @param {string} task @returns {number} seconds */
export function recallPosition(task) {
  const all = read("positions");
  const value = all && typeof all === "object" ? /** @type {Record<string, unknown>} */ (all)[task] : 0;
  return typeof value === "number" ? value : 0;
}

/** @param {string} task @param {number} seconds */
export function rememberPosition(task, seconds) {
  const all = read("positions");
  const kept = Object.entries(all && typeof all === "object" ? all : {}).filter(([key]) => key !== task);
  kept.push([task, Math.round(seconds * 10) / 10]);
  write("positions", Object.fromEntries(kept.slice(-POSITIONS)));
}
