// @ts-check
// Player of the recording: highlights the spoken line, and remembers speed, volume and position.

/** @import { Line } from "./types.js" */
/** @import { List } from "./list.js" */
/** @import { Store } from "./store.js" */
import { recall, recallPosition, remember, rememberPosition } from "./remembered.js";

export class Player extends EventTarget {
  /** @param {HTMLElement | null} root @param {Store} store @param {List} list @param {string} task */
  constructor(root, store, list, task) {
    super();
    this.root = root;
    this.store = store;
    this.list = list;
    this.task = task;
    this.media = /** @type {HTMLMediaElement | null} */ (root?.querySelector("audio, video") ?? null);
    this.speed = /** @type {HTMLSelectElement | null} */ (root?.querySelector("[data-speed]") ?? null);
    this.follow = /** @type {HTMLInputElement | null} */ (root?.querySelector("[data-follow]") ?? null);
    /** @type {string | null} */ this.spoken = null;
    /** @type {Element | null} */ this.word = null;
    /** @type {number | null} */ this.awaited = null; // ms, sought before the recording was there
    if (this.media) this.listen(this.media);
  }

  /** @param {HTMLMediaElement} media */
  listen(media) {
    let frame = 0;
    const loop = () => {
      this.light();
      frame = media.paused ? 0 : requestAnimationFrame(loop);
    };
    media.addEventListener("play", () => {
      if (!frame) frame = requestAnimationFrame(loop);
    });
    for (const kind of ["seeked", "timeupdate", "pause"]) media.addEventListener(kind, () => this.light());
    for (const kind of ["seeked", "pause"]) {
      media.addEventListener(kind, () => rememberPosition(this.task, media.currentTime));
    }
    window.addEventListener("pagehide", () => rememberPosition(this.task, media.currentTime));
    media.volume = Math.min(Math.max(recall("volume", 1), 0), 1);
    media.addEventListener("volumechange", () => remember("volume", media.volume));
    media.addEventListener("error", () => this.explain());
    if (media.error) this.explain();
    this.setSpeed(recall("speed", 1));
    this.speed?.addEventListener("change", () => this.setSpeed(Number(this.speed?.value)));
  }

  /** Says why it cannot be played: gone from the storage, or of a kind that this browser does not play. */
  async explain() {
    const address = this.root?.dataset.there;
    const answer = address ? await fetch(address).catch(() => null) : null;
    const gone = answer?.ok && (await answer.json().catch(() => ({}))).there === false;
    const shown = this.root?.querySelector(gone ? "[data-gone]" : "[data-unplayable]");
    if (shown instanceof HTMLElement) shown.hidden = false;
  }

  /** @returns {number} ms, of what is heard or, before the recording is there, will be heard first */
  get now() {
    return this.awaited ?? (this.media?.currentTime ?? 0) * 1000;
  }

  /** @param {number} time ms @returns {Line | null} the last that has begun */
  lineAt(time) {
    const { lines } = this.store;
    let low = 0;
    let high = lines.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (lines[middle].start <= time) low = middle;
      else high = middle - 1;
    }
    return lines[low] ?? null;
  }

  /** @param {number} ms */
  seek(ms) {
    const { media } = this;
    if (!media) return;
    const go = () => {
      media.currentTime = ms / 1000;
      this.awaited = null;
    };
    this.awaited = ms;
    if (media.readyState > 0) go();
    else media.addEventListener("loadedmetadata", () => this.awaited === ms && go(), { once: true });
    this.light(); // Not with the next event: a key that is pressed before it starts from here.
  }

  /** @param {number} ms */
  play(ms) {
    this.seek(ms);
    this.media?.play().catch(() => {}); // Refused before the first click on the page: then it only seeks.
  }

  toggle() {
    if (this.media?.paused) this.media.play().catch(() => {});
    else this.media?.pause();
  }

  /** @param {number} seconds */
  skip(seconds) {
    if (this.media) this.media.currentTime += seconds;
  }

  /** @param {number} by steps of the list of speeds */
  faster(by) {
    if (!this.speed) return;
    const last = this.speed.options.length - 1;
    this.speed.selectedIndex = Math.min(Math.max(this.speed.selectedIndex + by, 0), last);
    this.setSpeed(Number(this.speed.value));
  }

  /** @param {number} rate */
  setSpeed(rate) {
    if (!this.media || !this.speed) return;
    const offered = [...this.speed.options].some((option) => Number(option.value) === rate);
    this.media.defaultPlaybackRate = this.media.playbackRate = offered ? rate : 1;
    this.speed.value = String(offered ? rate : 1);
    remember("speed", offered ? rate : 1);
  }

  stopFollowing() {
    if (this.follow) this.follow.checked = false;
  }

  light() {
    const now = this.now;
    const found = this.lineAt(now);
    const line = found && found.start <= now && now < found.end ? found : null;
    if ((line?.id ?? null) !== this.spoken) {
      this.list.root.querySelector("li.spoken")?.classList.remove("spoken");
      this.spoken = this.list.kept = line?.id ?? null;
      const item = line && this.list.item(line.id);
      item?.classList.add("spoken");
      if (line && item && this.follow?.checked && !this.media?.paused && !this.list.editing) {
        this.list.words(line.id);
        item.scrollIntoView({ block: "center", behavior: "smooth" });
      }
    }
    const words = line ? [...(this.list.item(line.id)?.querySelectorAll(".word") ?? [])] : [];
    const word = words.find((each) => each instanceof HTMLElement && isNow(each, now)) ?? null;
    if (word === this.word) return;
    this.word?.classList.remove("now");
    word?.classList.add("now");
    this.word = word;
  }

  /** Where the page is opened at: `?t=<ms>`, `#line-<ID>`, or where the listener was the last time. */
  open() {
    const time = new URLSearchParams(window.location.search).get("t");
    const linked = window.location.hash.match(/^#line-(\d+)$/)?.[1];
    const line = linked ? this.store.byId.get(linked) : time ? this.lineAt(Number(time)) : null;
    if (line) {
      const item = this.list.item(line.id);
      item?.classList.add("at-hit");
      item?.scrollIntoView({ block: "center" });
      this.seek(time ? Number(time) : line.start);
      return;
    }
    const last = recallPosition(this.task);
    if (last > 0) this.seek(last * 1000);
  }
}

/** @param {HTMLElement} word @param {number} now */
function isNow(word, now) {
  return Number(word.dataset.start) <= now && now < Number(word.dataset.end);
}
