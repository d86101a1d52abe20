/**
 * What changed since a page was last drawn: every entry once, told at most once a frame.
 *
 * Rules: what changes while it is told is told with the next frame. Bound: entries are those of `runs`, so its bound serves.
 * Knows no page: `nextFrame` is given.
 */

export class Changes {
  /** @type {Set<import("./runcast.d.ts").Entry>} */
  #entries = new Set();
  #reset = false;
  #planned = false;
  #nextFrame;
  #tell;

  /**
   * @param {(draw: () => void) => void} nextFrame calls once, later
   * @param {(entries: import("./runcast.d.ts").Entry[], reset: boolean) => void} tell
   */
  constructor(nextFrame, tell) {
    this.#nextFrame = nextFrame;
    this.#tell = tell;
  }

  /** @param {import("./runcast.d.ts").Entry} entry */
  add(entry) {
    this.#entries.add(entry);
    this.#plan();
  }

  /** Everything is gone: what was to be told of it is, too. */
  reset() {
    this.#entries.clear();
    this.#reset = true;
    this.#plan();
  }

  #plan() {
    if (this.#planned) return;
    this.#planned = true;
    this.#nextFrame(() => {
      const [entries, reset] = [[...this.#entries], this.#reset];
      this.#entries.clear();
      this.#planned = this.#reset = false;
      this.#tell(entries, reset);
    });
  }
}

/** Before the browser draws next; in a hidden tab, which draws nothing, and where there are no frames, after `waitMs`. @param {number} waitMs */
export function pageFrames(waitMs) {
  return (/** @type {() => void} */ draw) => {
    let frame = 0;
    const timer = setTimeout(() => {
      globalThis.cancelAnimationFrame?.(frame);
      draw();
    }, waitMs);
    if (!globalThis.requestAnimationFrame) return;
    frame = requestAnimationFrame(() => {
      clearTimeout(timer);
      draw();
    });
  };
}
