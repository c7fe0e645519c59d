// @ts-check
// Store: the lines as on the server, and the queue of unsaved changes. Changes are sent one after the other
// and retried after network errors, so that no input is lost.

/** @import { Answer, Change, Line, SaveState, Speaker } from "./types.js" */

const RETRY = [2000, 5000, 15000, 30000]; // ms

/** A change was refused; `line` is the current line if somebody else has changed it. */
export class Refused extends Error {
  /** @param {string} message @param {{id: string, line: Line | null} | null} conflict */
  constructor(message, conflict) {
    super(message);
    this.conflict = conflict;
  }
}

export class Store extends EventTarget {
  /** @param {{lines: string, change: string}} addresses */
  constructor(addresses) {
    super();
    this.addresses = addresses;
    /** @type {Line[]} */ this.lines = [];
    /** @type {Map<string, Line>} */ this.byId = new Map();
    /** @type {Speaker[]} */ this.speakers = [];
    /** @type {number[][]} */ this.unrecognised = [];
    /** @type {number[]} */ this.loudness = [];
    this.version = 0;
    this.duration = 0;
    this.canUndo = false;
    this.canRedo = false;
    this.canPublish = false;
    /** @type {SaveState} */ this.state = "saved";
    /** @type {Promise<unknown>} */ this.queue = Promise.resolve();
    this.sending = 0;
    /** @type {(() => void) | null} */ this.wake = null;
  }

  async load() {
    const response = await fetch(this.addresses.lines, { headers: { Accept: "application/json" } });
    if (!response.ok) throw new Error(String(response.status));
    this.take(await response.json());
  }

  /** What others have changed meanwhile. */
  async refresh() {
    if (this.sending) return;
    const response = await fetch(`${this.addresses.lines}?since=${this.version}`);
    if (response.ok && !response.redirected && !this.sending) this.take(await response.json());
  }

  /** @param {Answer} answer */
  take(answer) {
    const before = new Map(this.byId);
    if (answer.whole) this.byId.clear();
    for (const id of answer.gone) this.byId.delete(id);
    for (const line of answer.lines) this.byId.set(line.id, line);
    this.lines = [...this.byId.values()].sort(
      (a, b) => a.segment - b.segment || a.start - b.start || Number(a.id) - Number(b.id),
    );
    const changed = new Set(
      answer.lines.filter((line) => before.get(line.id)?.tag !== line.tag).map((line) => line.id),
    );
    const renamed = JSON.stringify(this.speakers) !== JSON.stringify(answer.speakers);
    this.speakers = answer.speakers;
    this.unrecognised = answer.unrecognised;
    if (answer.whole) this.loudness = answer.loudness;
    this.version = answer.version;
    this.duration = answer.duration;
    this.canUndo = answer.undo;
    this.canRedo = answer.redo;
    this.canPublish = answer.publish;
    this.dispatchEvent(new CustomEvent("lines", { detail: { changed, renamed } }));
  }

  /** @param {string} label */
  speaker(label) {
    return this.speakers.find((each) => each.label === label);
  }

  /** @param {SaveState} state */
  setState(state) {
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }

  /**
   * Send changes after those that are on their way. Rejects with `Refused` where they cannot be made.
   * @param {Change[] | "undo" | "redo"} changes
   * @returns {Promise<void>}
   */
  send(changes) {
    this.sending += 1;
    this.setState("saving");
    const sent = this.queue.then(() => this.deliver(changes));
    this.queue = sent.catch(() => {});
    const ended = (/** @type {SaveState} */ state) => {
      this.sending -= 1;
      if (!this.sending) this.setState(state);
    };
    sent.then(
      () => ended("saved"),
      () => ended("refused"),
    );
    return sent;
  }

  /** @param {Change[] | "undo" | "redo"} changes @returns {Promise<void>} */
  async deliver(changes) {
    for (let attempt = 0; ; attempt += 1) {
      const response = await this.post(changes).catch(() => null);
      if (response?.ok && !response.redirected) {
        this.take(await response.json());
        return;
      }
      if (response?.status === 409) {
        const { message, line, id } = await response.json();
        throw new Refused(message, { id, line });
      }
      if (response?.status === 422) throw new Refused((await response.json()).message, null);
      const signedOut = Boolean(response && (response.redirected || response.status === 403));
      this.setState(signedOut ? "signed_out" : "failed");
      await this.pause(RETRY[Math.min(attempt, RETRY.length - 1)]);
      this.setState("saving");
    }
  }

  /** @param {Change[] | "undo" | "redo"} changes */
  post(changes) {
    return fetch(this.addresses.change, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRFToken": csrfToken(), Accept: "application/json" },
      body: JSON.stringify({ version: this.version, changes }),
    });
  }

  /** Waits, or until `retry` is called. @param {number} ms */
  pause(ms) {
    return new Promise((resolve) => {
      const timer = window.setTimeout(() => resolve(undefined), ms);
      this.wake = () => {
        window.clearTimeout(timer);
        resolve(undefined);
      };
    });
  }

  retry() {
    this.wake?.();
  }
}

function csrfToken() {
  const field = /** @type {HTMLInputElement | null} */ (document.querySelector("[name=csrfmiddlewaretoken]"));
  return field?.value ?? "";
}
