/**
 * What the application has sent and the edge has not answered yet: a pure outbox, one for each connection.
 *
 * Theory. A send is repeated under its own id until it is answered; the edge recognises a repeat for two minutes. So a send that may have
 * been stored (its connection, or the edge's patience, ended before the answer) is only repeated within `resendHorizonMs` of its first
 * transmission; later it ends as `indeterminate`. One that was refused for certain each time may be repeated for as long as it takes.
 *
 * Invariants: every send ends once, by `answered`, `expire` or `abandon`; at most `sendsInFlightMax` are on the wire; they go out in
 * the order in which they came, and one that has to wait holds those behind it.
 * Imports the bounds only; knows no socket and no clock.
 */

import { LIMITS } from "./limits.js";

/**
 * `Frame` is what is said over a connection, `Effect` what a session decides.
 * @typedef {{type: string, [field: string]: any}} Frame
 * @typedef {{do: "connect"}
 *   | {do: "disconnect", reason: string}
 *   | {do: "renew"}
 *   | {do: "transmit", frame: Frame}
 *   | {do: "deliver", pos: string, events: import("./runcast.d.ts").RuncastEvent[]}
 *   | {do: "reset", reason: string}
 *   | {do: "snapshot", runs: import("./runcast.d.ts").RunSummary[]}
 *   | {do: "store", pos: string, force: boolean}
 *   | {do: "state", state: import("./runcast.d.ts").State, detail: import("./runcast.d.ts").StateDetail}
 *   | {do: "sent", id: string, duplicate: boolean}
 *   | {do: "refused", id: string, error: import("./runcast.d.ts").ErrorInfo}
 *   | {do: "error", error: import("./runcast.d.ts").ErrorInfo}} Effect
 *
 * `firstAt`: when it first went out with an outcome still open. `unsure`: it may have been stored by an attempt that was not answered.
 * @typedef {{frame: Frame, onWire: boolean, unsure: boolean, firstAt: number | null, notBefore: number, tries: number}} Pending
 */

/** @param {string} id @param {string} code @param {string} message @param {boolean} definite @returns {Effect} */
export function refused(id, code, message, definite) {
  return { do: "refused", id, error: { code, message, id, retry: false, definite } };
}

export class Sends {
  #jitter;
  /** Oldest first. @type {Map<string, Pending>} */
  #pending = new Map();

  /** @param {(tries: number) => number} jitter how long to wait before another try, milliseconds */
  constructor(jitter) {
    this.#jitter = jitter;
  }

  get size() {
    return this.#pending.size;
  }

  /** @param {string} id */
  has(id) {
    return this.#pending.has(id);
  }

  /**
   * Take a send; what can never be accepted is refused at once.
   * @param {Frame} frame
   * @param {number} now
   * @param {number} frameBytesMax a larger frame would end the whole session at the edge
   * @returns {Effect[]}
   */
  add(frame, now, frameBytesMax) {
    const bytes = new TextEncoder().encode(JSON.stringify(frame)).length;
    if (this.#pending.has(frame.id)) return [refused(frame.id, "send_invalid", "a send with this id is under way; give each its own", true)];
    if (bytes > frameBytesMax) return [refused(frame.id, "send_too_large", `${bytes} bytes; send at most ${frameBytesMax}`, true)];
    if (this.#pending.size >= LIMITS.sendsMax) {
      return [refused(frame.id, "outbox_full", `${LIMITS.sendsMax} sends are unanswered; wait for some`, true)];
    }
    this.#pending.set(frame.id, { frame, onWire: false, unsure: false, firstAt: null, notBefore: now, tries: 0 });
    return [];
  }

  /** What may go on the wire now, in order; it counts as transmitted. @param {number} now @returns {Frame[]} */
  take(now) {
    const frames = [];
    let onWire = 0;
    for (const send of this.#pending.values()) {
      if (!send.onWire) {
        if (send.notBefore > now || onWire >= LIMITS.sendsInFlightMax) break;
        send.onWire = true;
        send.firstAt ??= now;
        frames.push(send.frame);
      }
      onWire += 1;
    }
    return frames;
  }

  /** It is settled. @param {string} id @returns {boolean} whether it was waiting */
  answered(id) {
    return this.#pending.delete(id);
  }

  /**
   * The edge could not take it just now.
   * @param {string} id
   * @param {number} now
   * @param {boolean} definite nothing was stored, for certain
   * @param {number} retryAfterMs not sooner than this
   */
  postpone(id, now, definite, retryAfterMs) {
    const send = this.#pending.get(id);
    if (send === undefined) return;
    send.onWire = false;
    send.unsure ||= !definite;
    if (!send.unsure) send.firstAt = null;
    send.notBefore = now + Math.max(retryAfterMs, this.#jitter(send.tries));
    send.tries += 1;
  }

  /** The connection is gone, and with it the answers to what was on the wire. */
  disconnected() {
    for (const send of this.#pending.values()) {
      send.unsure ||= send.onWire;
      send.onWire = false;
    }
  }

  /** Give up what can't be repeated safely any more. @param {number} now @returns {Effect[]} */
  expire(now) {
    const effects = [];
    for (const [id, send] of this.#pending) {
      if (send.firstAt === null || now - send.firstAt < LIMITS.resendHorizonMs) continue;
      this.#pending.delete(id);
      effects.push(refused(id, "indeterminate", "no answer came, it may have been stored; look for it before sending it anew", false));
    }
    return effects;
  }

  /** Give up everything: there will be no other connection. @param {string} why @returns {Effect[]} */
  abandon(why) {
    const effects = [...this.#pending].map(([id, send]) => refused(id, "closed", `the connection was closed: ${why}`, send.firstAt === null));
    this.#pending.clear();
    return effects;
  }

  /** When something is due next; Infinity when nothing is. @param {boolean} open whether frames can go out @returns {number} */
  deadline(open) {
    let soonest = Infinity;
    let onWire = 0;
    let first = open;
    for (const send of this.#pending.values()) {
      if (send.firstAt !== null) soonest = Math.min(soonest, send.firstAt + LIMITS.resendHorizonMs);
      if (send.onWire) {
        onWire += 1;
      } else if (first) {
        first = false;
        if (onWire < LIMITS.sendsInFlightMax) soonest = Math.min(soonest, send.notBefore);
      }
    }
    return soonest;
  }
}
