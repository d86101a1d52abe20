/**
 * What the application has handled and the edge has not been told: pure, cumulative, one for each connection.
 *
 * Theory. The edge stops feeding a device whose window of unacknowledged events or bytes is full, so an acknowledgement is due well before:
 * at `ackEvents` events, or a quarter of the window, or an eighth of its bytes; else after `ackIntervalMs`, one for all that waited.
 *
 * Invariants: `take` gives the newest handled position, and only when something is owed; what arrived but was not handled is never told.
 * Knows no socket and no clock.
 */

import { LIMITS } from "./limits.js";
import { notAfter } from "./position.js";

export class Acks {
  #handled = "";
  #owed = false;
  #events = 0;
  #bytes = 0;
  /** @type {number} */
  #eventsMax = LIMITS.ackEvents;
  #bytesMax = Infinity;
  #arrived = { events: 0, bytes: 0 };
  /** When an acknowledgement is due; Infinity when none is owed. */
  due = Infinity;

  /**
   * A session opened with this window.
   * @param {number} windowEvents
   * @param {number} windowBytes
   */
  open(windowEvents, windowBytes) {
    this.#eventsMax = Math.max(1, Math.min(LIMITS.ackEvents, Math.floor(windowEvents / 4)));
    // Sizes are counted in characters, of which UTF-8 makes up to three bytes: an eighth stays below half of the window.
    this.#bytesMax = windowBytes / 8;
  }

  /**
   * A connection that goes on behind `pos`. If the application is done with just that, it is told again: the edge before may have gone
   * with what it had heard.
   * @param {string} pos
   * @param {number} now
   */
  begin(pos, now) {
    const again = this.#handled !== "" && this.#handled === pos;
    this.#handled = pos;
    this.#settle();
    this.#arrived = { events: 0, bytes: 0 };
    if (again) this.#owe(now);
  }

  /** Delivered to the application. @param {number} events @param {number} bytes */
  arrived(events, bytes) {
    this.#arrived.events += events;
    this.#arrived.bytes += bytes;
  }

  /** The application is done with all that arrived, up to `pos`. @param {string} pos @param {number} now */
  handled(pos, now) {
    this.#handled = pos;
    this.#events += this.#arrived.events;
    this.#bytes += this.#arrived.bytes;
    this.#arrived = { events: 0, bytes: 0 };
    this.#owe(now);
  }

  /**
   * What was handled long ago came once more. It takes room in the edge's window all the same, so it is told again; but never more than this
   * connection brought, which the edge would take for a lie.
   * @param {string} pos
   * @param {number} now
   */
  repeated(pos, now) {
    if (!notAfter(pos, this.#handled)) this.#handled = pos;
    this.#owe(now);
  }

  /** @param {number} now */
  #owe(now) {
    this.#owed = true;
    const full = this.#events >= this.#eventsMax || this.#bytes >= this.#bytesMax;
    this.due = full ? now : Math.min(this.due, now + LIMITS.ackIntervalMs);
  }

  /** The position to acknowledge, "" when nothing is owed. It counts as told. */
  take() {
    const pos = this.#owed ? this.#handled : "";
    this.#settle();
    return pos;
  }

  #settle() {
    this.#owed = false;
    this.#events = this.#bytes = 0;
    this.due = Infinity;
  }
}
