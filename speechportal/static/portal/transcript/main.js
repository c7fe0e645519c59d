// @ts-check
// Transcript page: playback with the text, and corrections.

import { Actions } from "./actions.js";
import { Editor } from "./editor.js";
import { Finder } from "./find.js";
import { listen } from "./keys.js";
import { List } from "./list.js";
import { copy, text } from "./page.js";
import { Player } from "./player.js";
import { Speakers } from "./speakers.js";
import { Store } from "./store.js";
import { Timeline } from "./timeline.js";
import { wordsOf } from "./words.js";

const REFRESH = 20_000; // ms between looks at what others have changed

const root = /** @type {HTMLElement | null} */ (document.querySelector("[data-transcript]"));
if (root) start(root);

/** @param {HTMLElement} root */
async function start(root) {
  const { lines = "", change = "", task = "" } = root.dataset;
  const store = new Store({ lines, change });
  const editable = root.dataset.editable !== undefined;
  const list = new List(/** @type {HTMLElement} */ (root.querySelector("[data-list]")), store, editable);
  const playerRoot = /** @type {HTMLElement | null} */ (document.querySelector("[data-player]"));
  const player = new Player(playerRoot, store, list, task);
  const editor = new Editor(store, list);
  const actions = new Actions(store, editor);
  const find = /** @type {HTMLElement | null} */ (document.querySelector("[data-find]"));
  const finder = find && new Finder(find, store, list, player, editor);
  const speakers = /** @type {HTMLElement | null} */ (document.querySelector("[data-speakers]"));
  if (speakers && editable) new Speakers(speakers, store, editor);
  const canvas = /** @type {HTMLCanvasElement | null} */ (document.querySelector("[data-timeline]"));
  if (canvas) new Timeline(canvas, store, player);
  for (const tools of document.querySelectorAll("[data-needs-script]")) {
    if (tools instanceof HTMLElement) tools.hidden = false;
  }

  const current = () =>
    store.byId.get(list.editing ?? "") ?? store.byId.get(player.spoken ?? "") ?? player.lineAt(player.now);

  showState(store);
  list.root.addEventListener("click", (event) => {
    const target = event.target instanceof HTMLElement ? event.target : null;
    const line = list.lineAround(target);
    if (!target || !line) return;
    if (target.closest("[data-edit]")) editor.open(line);
    else if (target.closest("[data-actions]")) actions.all(line, target);
    else if (target.closest("button.who")) actions.speakers(line, target);
    else if (target.closest(".at")) {
      event.preventDefault();
      window.history.replaceState(null, "", `#line-${line.id}`);
      player.play(line.start);
    } else if (target.matches(".word") && window.getSelection()?.isCollapsed) {
      player.play(Number(target.dataset.start));
    }
  });
  list.root.addEventListener("dblclick", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    if (target?.closest("p")) editor.open(list.lineAround(target));
  });
  document.querySelector("[data-undo]")?.addEventListener("click", () => turn("undo"));
  document.querySelector("[data-redo]")?.addEventListener("click", () => turn("redo"));
  document.querySelector("[data-copy-all]")?.addEventListener("click", () => copy(wholeText(store)));

  /** @param {"undo" | "redo"} which */
  async function turn(which) {
    editor.close();
    await editor.save();
    await editor.try(which);
  }

  /** @param {number} by */
  function step(by) {
    const here = current();
    const at = here ? store.lines.indexOf(here) : 0;
    const line = store.lines[Math.min(Math.max(at + by, 0), store.lines.length - 1)];
    if (!line) return;
    player.seek(line.start + 1);
    list.item(line.id)?.scrollIntoView({ block: "center" });
    if (list.editing) editor.open(line, 0);
  }

  /** To the next word that was recognised uncertainly, or stretch in which nothing was. */
  function nextUnsure() {
    const now = player.now;
    const unsure = store.lines.flatMap((line) => {
      const words = line.recognised === undefined ? wordsOf(line).filter((word) => word.unsure) : [];
      return words.map((word) => ({ start: word.start, id: line.id }));
    });
    const silent = store.unrecognised.map(([start]) => ({ start, id: player.lineAt(start)?.id ?? "" }));
    const places = [...unsure, ...silent].sort((a, b) => a.start - b.start);
    const place = places.find((each) => each.start > now + 50) ?? places[0];
    if (!place) return;
    player.stopFollowing();
    player.seek(place.start + 1);
    list.words(place.id);
    list.item(place.id)?.scrollIntoView({ block: "center" });
    if (list.editing) editor.open(store.byId.get(place.id) ?? null, 0);
  }

  const shortcuts = /** @type {HTMLDialogElement | null} */ (document.querySelector("[data-shortcut-list]"));
  document.querySelector("[data-shortcuts]")?.addEventListener("click", () => shortcuts?.showModal());
  document.querySelector("[data-next-unsure]")?.addEventListener("click", nextUnsure);
  const shared = {
    KeyK: () => player.toggle(),
    KeyJ: () => player.skip(-5),
    KeyL: () => player.skip(5),
    ArrowUp: () => step(-1),
    ArrowDown: () => step(1),
    Comma: () => player.faster(-1),
    Period: () => player.faster(1),
    KeyN: nextUnsure,
  };
  const whose = () => {
    const line = current();
    const opener = line && list.item(line.id)?.querySelector("button.who");
    if (line && opener instanceof HTMLElement) actions.speakers(line, opener);
  };
  listen(
    {
      ...shared,
      KeyE: () => editor.open(current()),
      KeyS: whose,
      Slash: () => finder?.focus(),
      "Shift+Slash": () => shortcuts?.showModal(),
      ...Object.fromEntries(Array.from({ length: 9 }, (_, at) => [`Digit${at + 1}`, () => number(at)])),
    },
    { ...shared, KeyS: whose },
    {
      KeyZ: () => editable && turn("undo"),
      "Shift+KeyZ": () => editable && turn("redo"),
      KeyY: () => editable && turn("redo"),
    },
  );

  /** Gives the line that is spoken to a speaker by number. @param {number} at */
  function number(at) {
    const [line, speaker] = [current(), store.speakers[at]];
    if (editable && line?.label && speaker) actions.give(line.id, speaker.label);
  }

  try {
    await store.load();
  } catch {
    const failed = root.querySelector("[data-load-failed]");
    if (failed instanceof HTMLElement) failed.hidden = false;
    return;
  } finally {
    root.querySelector("[data-loading]")?.remove();
  }
  player.open();
  const wanted = new URLSearchParams(window.location.search).get("find");
  if (wanted && finder) {
    finder.input.value = wanted;
    finder.search();
  }
  window.setInterval(() => {
    if (!document.hidden) store.refresh().catch(() => {});
  }, REFRESH);
}

/** Shows whether all is saved, what can be undone, and whether there is something to publish. @param {Store} store */
function showState(store) {
  const place = document.querySelector("[data-save-state]");
  const retry = document.querySelector("[data-retry]");
  retry?.addEventListener("click", () => store.retry());
  const show = () => {
    if (place) {
      place.textContent = text(`state_${store.state}`);
      place.className = `small save-state ${store.state}`;
    }
    const isStuck = store.state === "failed" || store.state === "signed_out";
    if (retry instanceof HTMLElement) retry.hidden = !isStuck;
    for (const [name, can] of [
      ["undo", store.canUndo],
      ["redo", store.canRedo],
    ]) {
      const button = document.querySelector(`[data-${name}]`);
      if (button instanceof HTMLButtonElement) button.disabled = !can;
    }
    const publish = document.querySelector("[data-publish]");
    if (publish instanceof HTMLElement) publish.hidden = !store.canPublish;
    const published = document.querySelector("[data-published]");
    if (published instanceof HTMLElement && store.canPublish) published.hidden = true;
  };
  store.addEventListener("state", show);
  store.addEventListener("lines", show);
}

/** The transcript as people paste it: a paragraph each time the speaker changes. @param {Store} store */
function wholeText(store) {
  /** @type {string[]} */
  const parts = [];
  let last = "";
  for (const line of store.lines) {
    if (!line.text) continue;
    if (line.label !== last || !parts.length) {
      const name = store.speaker(line.label)?.name;
      parts.push(name ? `${name}: ${line.text}` : line.text);
    } else parts[parts.length - 1] += ` ${line.text}`;
    last = line.label;
  }
  return parts.join("\n\n");
}
