/**
 * What a screen reader says of what happens: every turning point at once, and of what goes on in between no more than one can listen to.
 *
 * Rules: `say` is for what a person waits for, or is asked; `hint` for the rest: one in `QUIET_MS`, the newest, and none right after a
 * `say`. History is not read out: callers announce only what happens while they are live. Imports nothing.
 */

/** Between a text and the next hint, milliseconds: about as long as a sentence takes to be spoken. */
const QUIET_MS = 4_000;

export class Announcer {
  #region;
  #hint = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #quiet;

  /** @param {HTMLElement} region a polite live region, used by nothing else */
  constructor(region) {
    this.#region = region;
  }

  /** @param {string} text */
  say(text) {
    this.#hint = "";
    this.#speak(text);
  }

  /** @param {string} text */
  hint(text) {
    if (this.#quiet === undefined) this.#speak(text);
    else this.#hint = text;
  }

  /** @param {string} text */
  #speak(text) {
    // The same words again are no change of a text, and would not be read: a new element is.
    const line = document.createElement("span");
    line.textContent = text;
    this.#region.replaceChildren(line);
    clearTimeout(this.#quiet);
    this.#quiet = setTimeout(() => {
      this.#quiet = undefined;
      const waiting = this.#hint;
      this.#hint = "";
      if (waiting) this.#speak(waiting);
    }, QUIET_MS);
  }
}
