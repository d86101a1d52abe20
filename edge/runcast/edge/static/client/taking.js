/**
 * What waits for a loop that takes events one by one (`for await`), and which positions it is done with. Pure.
 *
 * Theory. Until a loop begins, a batch is handled as soon as its handlers ran. From then on it is handled when its last event was taken and the
 * loop asked for the next, or left; so only what was taken is acknowledged, and the edge's window of what is not bounds what waits here. Several loops
 * share what comes; what a loop leaves waits for the next one.
 *
 * Invariants: positions are given in the order of the batches, each once; events are given once, in order.
 */

/** @typedef {import("./runcast.d.ts").Change} Change */
/** @typedef {{pos: string, left: number}} Lot a batch, and how many of its events are not done */

export class Taking {
  #begun = false;
  /** @type {{change: Change, lot: Lot}[]} */
  #waiting = [];
  /** @type {Lot[]} */
  #lots = [];

  /** A loop begins. */
  begin() {
    this.#begun = true;
  }

  /** @param {string} pos @param {Change[]} changes what the batch up to `pos` did */
  add(pos, changes) {
    const lot = { pos, left: this.#begun ? changes.length : 0 };
    this.#lots.push(lot);
    if (this.#begun) this.#waiting.push(...changes.map((change) => ({ change, lot })));
  }

  /** The next event, and the batch to give back to `done`. */
  take() {
    return this.#waiting.shift();
  }

  /** An event of `lot` is done. @param {Lot} lot */
  done(lot) {
    lot.left -= 1;
  }

  /** Positions that are handled, oldest first; each is given once. */
  handled() {
    const first = this.#lots.findIndex((lot) => lot.left > 0);
    return this.#lots.splice(0, first < 0 ? this.#lots.length : first).map((lot) => lot.pos);
  }

  /** The stream begins anew: nothing of before counts. */
  reset() {
    this.#waiting = [];
    this.#lots = [];
  }
}
