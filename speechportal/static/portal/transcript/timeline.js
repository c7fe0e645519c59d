// @ts-check
// Timeline: the waveform of the recording in the colours of the speakers. A click or the arrow keys seek.

/** @import { Player } from "./player.js" */
/** @import { Store } from "./store.js" */
import { clock } from "./page.js";

const BAR = 3; // px, with the gap behind it

export class Timeline {
  /** @param {HTMLCanvasElement} canvas @param {Store} store @param {Player} player */
  constructor(canvas, store, player) {
    this.canvas = canvas;
    this.store = store;
    this.player = player;
    this.wanted = 0;
    const draw = () => this.later();
    store.addEventListener("lines", draw);
    new ResizeObserver(draw).observe(canvas);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    for (const kind of ["timeupdate", "seeked", "loadedmetadata"]) player.media?.addEventListener(kind, draw);
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.go(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (canvas.hasPointerCapture(event.pointerId)) this.go(event);
    });
    canvas.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -5, ArrowRight: 5, PageUp: -60, PageDown: 60 }[event.code];
      if (by) player.skip(by);
      else if (event.code === "Home") player.seek(0);
      else if (event.code === "End") player.seek(this.length);
      else return;
      event.preventDefault();
    });
  }

  /** @returns {number} ms */
  get length() {
    const { media } = this.player;
    const played = media && Number.isFinite(media.duration) ? media.duration * 1000 : 0;
    return played || this.store.duration || 1;
  }

  /** @param {PointerEvent} event */
  go(event) {
    const box = this.canvas.getBoundingClientRect();
    this.player.seek((this.length * Math.min(Math.max(event.clientX - box.left, 0), box.width)) / box.width);
  }

  later() {
    if (!this.wanted) this.wanted = requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.wanted = 0;
    const { canvas, store } = this;
    const paper = canvas.getContext("2d");
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!paper || !width) return;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    paper.scale(scale, scale);
    const style = getComputedStyle(canvas);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    const silent = colour("--line");
    const colours = new Map(store.speakers.map((each) => [each.label, colour(`--speaker-${each.colour}`)]));
    const bars = Math.floor(width / BAR);
    const [now, length] = [this.player.now, this.length];
    let at = 0;
    for (let bar = 0; bar < bars; bar += 1) {
      const [from, to] = [(length * bar) / bars, (length * (bar + 1)) / bars];
      while (at < store.lines.length - 1 && store.lines[at].end <= from) at += 1;
      const line = store.lines[at];
      const spoken = line && line.start < to && line.end > from;
      paper.fillStyle = spoken ? (colours.get(line.label) ?? colour("--accent-text")) : silent;
      paper.globalAlpha = to <= now || !spoken ? 1 : 0.55;
      const size = Math.max(2, height * this.loudness(from / length, to / length, Boolean(spoken)));
      paper.fillRect(bar * BAR, (height - size) / 2, BAR - 1, size);
    }
    paper.globalAlpha = 1;
    paper.fillStyle = colour("--text");
    paper.fillRect(Math.min((width * now) / length, width - 1.5), 0, 1.5, height);
    canvas.setAttribute("aria-valuemax", String(Math.round(length / 1000)));
    canvas.setAttribute("aria-valuenow", String(Math.round(now / 1000)));
    canvas.setAttribute("aria-valuetext", clock(now));
  }

  /** 0..1: as measured, or the same height for all speech where it was not. @param {number} from @param {number} to @param {boolean} spoken */
  loudness(from, to, spoken) {
    const { loudness } = this.store;
    if (!loudness.length) return spoken ? 0.55 : 0.06;
    const first = Math.floor(from * loudness.length);
    const last = Math.max(first + 1, Math.ceil(to * loudness.length));
    return Math.max(...loudness.slice(first, last), 0) / 100;
  }
}
