/**
 * One tab of those that share a connection: a pure machine that decides; `shared.js` carries out.
 *
 * Theory. Tabs of one page that are the same device of the same user hear the same stream, so one connection serves them all. Each begins
 * with a connection of its own, and the edge's `welcome` says who it is: this makes the group, so no tab hears what its own token would
 * not have opened. One of the group holds a lock, and leads: what its connection brings it also tells the others, and says for them what
 * they send. A tab that has caught up leaves its own connection when the leader is not ahead of it: the chain of positions is the same,
 * so it takes the leader's batch whose `prev` it holds, drops what it had, and goes back to a connection of its own at a gap. So whatever is
 * lost, doubled or late between tabs costs a reconnect, and no event.
 *
 * An acknowledgement goes to the edge as soon as one tab of the group has handled what it says: a tab that does not take its events keeps
 * itself behind, not the others. What no tab has handled is never acknowledged.
 *
 * Who has no connection holds no lock, but for the heir, who was given it and is about to connect. When the leader goes, the lock passes on
 * by itself; the others wait `takeoverMs` for the next one, then connect. A leader that is silent (frozen, its network gone) is found out by
 * the session's own pings, which go all the way to the edge; who finds out takes the lock away from it.
 *
 * Rules: inputs are synchronous and carry the time; what is to be done is fetched with `takeEffects()`; the line, whichever feeds it, looks
 * to the session like one WebSocket. Invariants: what is passed to the session is one chain from its `welcome` on; the answer to a send
 * goes to the tab that sent it; without an own connection nothing is ever sent to an edge; no tab follows with a token that no edge has judged.
 * Knows no channel, lock, socket or clock.
 */

import { LIMITS } from "./limits.js";
import { notAfter } from "./position.js";

/**
 * alone: no connection, or one that is not to be shared. apart: its own, and another may lead. leading: its own, for all. following: fed by the
 * leader. waiting: fed by nobody until another leads. heir: to lead, once it is connected.
 * @typedef {"alone" | "apart" | "leading" | "following" | "waiting" | "heir"} TabState
 */

/** What may follow what. @type {Readonly<Record<TabState, Readonly<Record<string, TabState>>>>} */
export const TABLE = Object.freeze({
  alone: { welcomed: "apart" },
  apart: { granted: "leading", joined: "following", ended: "alone" },
  leading: { lost: "apart", ended: "alone" },
  following: { granted: "heir", silenced: "heir", orphaned: "waiting", ended: "alone" },
  waiting: { granted: "heir", silenced: "heir", led: "following", ended: "alone" },
  heir: { welcomed: "leading", lost: "alone", ended: "alone" },
});

/**
 * What tabs tell each other. A leader: lead, batch, answer, pong, gone. The others: ask, ack, send, ping.
 * @typedef {{is: "ping"} | {is: "ack", pos: string} | {is: "send", id: string, data: string}} Wish
 * @typedef {{is: "pong"} | {is: "batch", prev: string, pos: string, data: string} | {is: "answer", id: string, data: string}} Word
 * @typedef {{is: "ask"} | {is: "gone"} | {is: "lead", pos: string} | Wish | Word} Message
 * @typedef {{do: "join", name: string}
 *   | {do: "queue" | "steal" | "release" | "leave" | "hang_up"}
 *   | {do: "post", message: Message}
 *   | {do: "pass", data: string, frame: any}
 *   | {do: "forward", data: string}
 *   | {do: "end", reason: string}} Effect
 */

export class Tab {
  #url;
  /** @type {TabState} */
  #state = "alone";
  /** @type {Effect[]} */
  #effects = [];
  /** The newest position passed to the session, and the one at which it is caught up. */
  #held = "";
  #tip = "";
  /** The newest that was acknowledged on this connection. */
  #acked = "";
  /** Where the leader is, as far as it is caught up and was heard; "" otherwise. */
  #leader = "";
  /** Sends of this tab, and of others on this tab's connection, that are not answered. @type {Set<string>} */
  #mine = new Set();
  #theirs = new Set();
  /** A new token is not judged yet: it may be another user's, or, where it can't be judged now, the next connection's to prove. */
  #proving = false;
  /** Somebody else was heard: it is worth the while to tell them. */
  #heard = false;
  /** waiting: when it has been long enough. */
  #until = Infinity;

  /** @param {string} url of the edge */
  constructor(url) {
    this.#url = url;
  }

  get state() {
    return this.#state;
  }

  /** What is to be carried out, in this order. Each is given once. @returns {Effect[]} */
  takeEffects() {
    return this.#effects.splice(0);
  }

  /** When `tick` is wanted; Infinity when nothing is waited for. */
  deadline() {
    return this.#state === "waiting" ? this.#until : Infinity;
  }

  /** @param {number} now */
  tick(now) {
    if (now >= this.deadline()) this.#end("handover");
  }

  // --- inputs: this tab's own connection, and its session ---

  /** The edge said something. @param {any} frame parsed, not yet trusted @param {string} data its text */
  framed(frame, data) {
    const { type, id, prev, pos } = frame ?? {}; // what is no frame the session finds out
    if ((type === "sent" || type === "error") && this.#theirs.delete(id)) return this.#post({ is: "answer", id, data });
    if (type === "welcome") return this.#welcome(frame, data);
    const before = this.#live;
    if (type === "batch") this.#held = pos;
    if (type === "batch") this.#tell({ is: "batch", prev, pos, data });
    if (type === "pong") this.#tell({ is: "pong" });
    if (type === "sent" || type === "error") this.#mine.delete(id);
    if (type === "refreshed") this.#proving = false;
    this.#pass(data, frame);
    if (this.#state === "leading" && this.#live && !before) return this.#lead();
    return this.#join();
  }

  /** The session says something. @param {any} frame @param {string} data its text */
  said(frame, data) {
    const { type, id, pos } = frame;
    if (type === "send") this.#mine.add(id);
    if (type === "refresh") this.#proving = true;
    const fed = this.#state === "following" || this.#state === "waiting";
    if (!fed && type === "ack" && !notAfter(pos, this.#acked)) this.#acked = pos;
    if (!fed) return this.#do({ do: "forward", data });
    if (type === "ack") return this.#post({ is: "ack", pos });
    if (type === "send") return this.#post({ is: "send", id, data });
    if (type === "ping") return this.#post({ is: "ping" });
    // A token is judged by an edge, and by nobody else: it may be another user's.
    return this.#end("handover");
  }

  /** The connection is over, by the edge's doing or the session's. @param {string} [reason] the session's */
  closed(reason) {
    if (reason !== "silent" || !this.#move("silenced")) return this.#part();
    this.#mine.clear();
    return this.#do({ do: "steal" });
  }

  /** The page goes away, is frozen, or is done. */
  left() {
    const fed = this.#state !== "alone";
    this.#part();
    if (fed) this.#do({ do: "end", reason: "left" });
    this.#do({ do: "leave" });
  }

  // --- inputs: the lock ---

  /** This tab is to lead. */
  granted() {
    const fed = this.#state !== "apart";
    if (!this.#move("granted")) return;
    this.#post({ is: "gone" }); // whoever led before
    if (fed) {
      this.#mine.clear(); // the session sends again what was not answered
      this.#do({ do: "end", reason: "handover" });
    } else if (this.#live) {
      this.#lead();
    }
  }

  /** Another tab took it away. */
  lost() {
    if (this.#move("lost") && this.#state === "apart") this.#do({ do: "queue" }, { do: "post", message: { is: "ask" } });
  }

  // --- inputs: other tabs ---

  /** @param {Message} message @param {number} now */
  heard(message, now) {
    this.#heard = true;
    switch (message.is) {
      case "ask":
        return this.#state === "leading" && this.#live ? this.#lead() : undefined;
      case "ping":
      case "ack":
      case "send":
        return this.#state === "leading" ? this.#sayFor(message) : undefined;
      case "gone":
        this.#leader = "";
        if (this.#move("orphaned")) this.#until = now + LIMITS.takeoverMs;
        return undefined;
      case "lead":
        return this.#led(message.pos);
      default:
        return this.#fed(message);
    }
  }

  // --- following ---

  /** @param {string} pos */
  #led(pos) {
    this.#leader = pos;
    if (this.#state === "apart") return this.#join();
    if (this.#state !== "following" && this.#state !== "waiting") return undefined;
    // What was sent by way of another leader may be lost: the session sends it again on a connection of its own.
    const lost = this.#state === "waiting" && this.#mine.size > 0;
    if (lost || !notAfter(pos, this.#held)) return this.#end(lost ? "handover" : "gap");
    this.#move("led");
    return undefined;
  }

  /** @param {Word} message */
  #fed(message) {
    if (message.is === "batch" && this.#leader) this.#leader = message.pos;
    if (this.#state === "apart") return this.#join();
    if (this.#state !== "following" && this.#state !== "waiting") return undefined;
    if (message.is === "pong") return this.#pass('{"type":"pong"}');
    if (message.is === "answer") return this.#mine.delete(message.id) ? this.#pass(message.data) : undefined;
    if (message.prev === this.#held) {
      this.#held = message.pos;
      return this.#pass(message.data);
    }
    return notAfter(message.pos, this.#held) ? undefined : this.#end("gap");
  }

  /** Leave the own connection, if the leader's goes on where it is. */
  #join() {
    if (this.#state !== "apart" || !this.#live || this.#mine.size > 0 || this.#proving || !this.#leader || !notAfter(this.#leader, this.#held)) return;
    this.#move("joined");
    this.#do({ do: "hang_up" });
    this.#rest();
  }

  /** This tab's token keeps nothing open: the session need not renew it. */
  #rest() {
    this.#pass('{"type":"refreshed"}');
  }

  // --- leading ---

  /** @param {any} frame @param {string} data */
  #welcome(frame, data) {
    const { position, tip, tenant, user, device, replay } = frame;
    [this.#held, this.#tip, this.#acked, this.#leader, this.#proving] = [position, tip, "", "", false];
    this.#pass(data, frame);
    if (replay) return;
    const heir = this.#state === "heir";
    if (!this.#move("welcomed")) return;
    this.#do({ do: "join", name: `runcast 1 ${JSON.stringify([this.#url, tenant, user, device])}` });
    if (!heir) this.#do({ do: "queue" }, { do: "post", message: { is: "ask" } });
    else if (this.#live) this.#lead();
  }

  get #live() {
    return notAfter(this.#tip, this.#held);
  }

  #lead() {
    this.#post({ is: "lead", pos: this.#held });
  }

  /** @param {Message} message */
  #tell(message) {
    if (this.#state === "leading" && this.#heard) this.#post(message);
  }

  /** What another tab says, on this tab's connection. @param {Wish} message */
  #sayFor(message) {
    if (message.is === "ping") return this.#do({ do: "forward", data: '{"type":"ping"}' });
    if (message.is === "send") {
      this.#theirs.add(message.id);
      return this.#do({ do: "forward", data: message.data });
    }
    // What this connection has brought, and is new: an edge takes anything else for a lie, or for nothing.
    const { pos } = message;
    if (!notAfter(pos, this.#held) || notAfter(pos, this.#acked)) return undefined;
    this.#acked = pos;
    return this.#do({ do: "forward", data: JSON.stringify({ type: "ack", pos }) });
  }

  // --- both ---

  /** @param {string} data @param {any} [frame] the same, where it is parsed already */
  #pass(data, frame) {
    this.#do({ do: "pass", data, frame });
  }

  /** The session is to connect for itself. @param {string} reason */
  #end(reason) {
    this.#part();
    this.#do({ do: "end", reason });
  }

  /** Out of the group, until the next welcome. */
  #part() {
    if (this.#state === "leading") this.#post({ is: "gone" });
    this.#mine.clear();
    this.#theirs.clear();
    if (this.#move("ended")) this.#do({ do: "release" });
  }

  /** @param {Message} message */
  #post(message) {
    this.#do({ do: "post", message });
  }

  /** @param {Effect[]} effects */
  #do(...effects) {
    this.#effects.push(...effects);
  }

  /** @param {string} input @returns {boolean} whether it means anything now */
  #move(input) {
    const next = TABLE[this.#state][input];
    if (next) this.#state = next;
    return next !== undefined;
  }
}
