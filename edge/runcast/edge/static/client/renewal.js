/**
 * When to ask for a new token, so that the session outlives the old one: pure, one for each session.
 *
 * Theory. The edge says how long the token counts, not when it ends: clocks need not agree. The first try comes when most of that time is
 * over. Every try plans the next, between now and the end, whatever becomes of it; only the edge's word that a later end counts forgets them.
 * So a login service that fails, hangs, or gives the same token again is asked `renewTriesMax` times, and then the token runs out.
 *
 * Invariants: nothing is due while no end is known; at most `renewTriesMax` tries for one end.
 * Imports the bounds only; knows no clock.
 */

import { LIMITS } from "./limits.js";

export class Renewal {
  #random;
  #end = Infinity;
  #tries = 0;
  /** When the next try is due; Infinity when none is. */
  due = Infinity;

  /** @param {() => number} random a number in [0, 1) */
  constructor(random) {
    this.#random = random;
  }

  /**
   * The edge said how long the token counts.
   * @param {unknown} expiresInMs anything but a number above 0: no end is known
   * @param {number} now
   */
  expires(expiresInMs, now) {
    const left = typeof expiresInMs === "number" && expiresInMs > 0 ? expiresInMs : Infinity;
    const later = now + left > this.#end || this.#end <= now;
    if (later || left === Infinity) this.#tries = 0;
    this.#end = now + left;
    this.#plan(left, LIMITS.renewFrom, LIMITS.renewTo, now);
  }

  /** The session is over, and with it what was known of the token's end. */
  stop() {
    this.#end = this.due = Infinity;
    this.#tries = 0;
  }

  /** A try is made now: plan the next. @param {number} now */
  tried(now) {
    this.#tries += 1;
    this.#plan(this.#end - now, 0.25, 0.5, now);
  }

  /** @param {number} left @param {number} from @param {number} to parts of it @param {number} now */
  #plan(left, from, to, now) {
    const tired = this.#tries >= LIMITS.renewTriesMax || left <= 0 || left === Infinity;
    this.due = tired ? Infinity : now + left * (from + (to - from) * this.#random());
  }
}
