/**
 * How long something has been going on, where it began by another machine's clock.
 *
 * Rules: an event that comes as it happens tells how far its agent's clock is from this one's, at most: the least that was seen of a run counts,
 * for the rest was on its way. Of a run of which nothing came yet, that of the others serves; before anything came, the clocks are taken to
 * agree. What would be longer than anything is kept is not told: then a clock is wrong. Nor is anything of a replay, where nothing goes on.
 * Pure; imports nothing. Bound: runs that are known.
 */

/** Longest time told, milliseconds: streams keep a day. */
const ELAPSED_MAX_MS = 86_400_000;

export class Clock {
  /** By run: how far this clock is ahead of its agent's, milliseconds. @type {Map<string, number>} */
  #ahead = new Map();

  /** An event came as it happened. @param {{run_id: string, time_unix_ms: number}} event @param {number} now milliseconds since the Unix epoch */
  hear({ run_id, time_unix_ms }, now) {
    if (run_id === "" || time_unix_ms === 0) return;
    const ahead = now - time_unix_ms;
    if (ahead < (this.#ahead.get(run_id) ?? Infinity)) this.#ahead.set(run_id, ahead);
  }

  /** @param {string} runId @param {number | null} startedAt by its agent's clock @param {number} now @returns {number | null} milliseconds; null: nobody can tell */
  elapsed(runId, startedAt, now) {
    if (startedAt === null) return null;
    const ahead = this.#ahead.get(runId) ?? (this.#ahead.size > 0 ? Math.min(...this.#ahead.values()) : 0);
    const elapsed = Math.max(0, now - ahead - startedAt);
    return elapsed > ELAPSED_MAX_MS ? null : elapsed;
  }

  /** Keep only runs that are known still. @param {(runId: string) => boolean} known */
  prune(known) {
    for (const id of this.#ahead.keys()) if (!known(id)) this.#ahead.delete(id);
  }
}
