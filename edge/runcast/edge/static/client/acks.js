/**
 * What the application has handled and the edge has not been told: pure, cumulative, one for each connection.
 *
 * Theory. The edge stops feeding a device whose window of unacknowledged events or bytes is full, so an acknowledgement is due well before:
 * at `ackEvents` events, or a quarter of the window, or an eighth of its bytes; else after `ackIntervalMs`, one for all that waited.
 * An application that takes events one by one may lag behind what arrived, over several connections. An edge takes what lies before the
 * place where a connection began for that place, so until the application has come that far it is told nothing.
 *
 * Invariants: `take` gives the newest position that was handled and that this connection brought, and only when something is owed; what
 * arrived but was not handled is never told.
 * Knows no socket and no clock.
 */

import { LIMITS } from "./limits.js";
import { notAfter } from "./position.js";

export class Acks {
  #handled = "";
  /** Where this connection began, and what it brought last. */
  #base = "";
  #brought = "";
  #owed = false;
  #events = 0;
  #bytes = 0;
  /** @type {number} */
  #eventsMax = LIMITS.ackEvents;
  #bytesMax = Infinity;
  #window = { events: Infinity, bytes: Infinity };
  /** Delivered and not handled, oldest first. @type {{pos: string, events: number, bytes: number}[]} */
  #arrived = [];
  #lag = { events: 0, bytes: 0 };
  /** When an acknowledgement is due; Infinity when none is owed. */
  due = Infinity;

  /**
   * A session opened with this window.
   * @param {number} windowEvents
   * @param {number} windowBytes
   */
  open(windowEvents, windowBytes) {
    this.#window = { events: windowEvents, bytes: windowBytes };
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
    this.#settle();
    this.#base = this.#brought = pos;
    const again = this.#handled === pos;
    this.#caughtUp(pos);
    if (again) this.#owe(now);
  }

  /** What was delivered is void: the stream begins anew. */
  reset() {
    this.#arrived = [];
    this.#lag = { events: 0, bytes: 0 };
    this.#handled = "";
  }

  /** The part of the window that was delivered and not handled, whatever connections brought it; 1: all of it. */
  get fullness() {
    return Math.max(this.#lag.events / this.#window.events, this.#lag.bytes / this.#window.bytes);
  }

  /** Delivered to the application. @param {string} pos @param {number} events @param {number} bytes */
  arrived(pos, events, bytes) {
    if (!notAfter(this.#base, pos)) this.#base = pos; // behind a snapshot positions begin anew
    this.#brought = pos;
    this.#arrived.push({ pos, events, bytes });
    this.#lag.events += events;
    this.#lag.bytes += bytes;
  }

  /** The application is done with all that arrived, up to `pos`. @param {string} pos @param {number} now */
  handled(pos, now) {
    const count = this.#arrived.findIndex((batch) => batch.pos === pos) + 1;
    for (const { events, bytes } of this.#arrived.splice(0, count)) {
      this.#events += events;
      this.#bytes += bytes;
      this.#lag.events -= events;
      this.#lag.bytes -= bytes;
    }
    this.#handled = pos;
    this.#owe(now);
  }

  /**
   * What was delivered long ago came once more. It takes room in the edge's window all the same, so it is told again, if it was handled; but
   * never more than this connection brought, which the edge would take for a lie.
   * @param {string} pos
   * @param {number} now
   */
  repeated(pos, now) {
    if (!notAfter(pos, this.#brought)) this.#brought = pos;
    this.#caughtUp(pos);
    this.#owe(now);
  }

  /** What the edge says again, the client held already; where nothing waits to be handled, it was handled. @param {string} pos */
  #caughtUp(pos) {
    if (this.#arrived.length === 0 && !notAfter(pos, this.#handled)) this.#handled = pos;
  }

  /** @param {number} now */
  #owe(now) {
    this.#owed = true;
    const full = this.#events >= this.#eventsMax || this.#bytes >= this.#bytesMax;
    this.due = full ? now : Math.min(this.due, now + LIMITS.ackIntervalMs);
  }

  /** The position to acknowledge, "" when nothing is owed. It counts as told. */
  take() {
    const pos = this.#owed ? this.#tellable() : "";
    this.#settle();
    return pos;
  }

  #tellable() {
    const [handled, brought] = [this.#handled, this.#brought];
    const pos = notAfter(handled, brought) ? handled : notAfter(brought, handled) ? brought : "";
    return pos && notAfter(this.#base, pos) ? pos : "";
  }

  #settle() {
    this.#owed = false;
    this.#events = this.#bytes = 0;
    this.due = Infinity;
  }
}
