/**
 * What the tests of the browser client's pure parts share: a seeded source of randomness, frames as an edge writes them, and a world in which
 * one session meets an edge that follows the protocol over a network that does not keep anything.
 *
 * Time is a number that the world moves; nothing here waits.
 */

import { Session } from "../../edge/runcast/edge/static/client/session.js";

/** Mulberry32: numbers in [0, 1), the same for the same seed. */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export const EPOCH = "abcdefgh";

export function position(seq, epoch = EPOCH) {
  return `${epoch}-${String(seq).padStart(16, "0")}`;
}

export function welcome(fields = {}) {
  return {
    type: "welcome",
    outcome: "resumed",
    position: position(0),
    tip: position(0),
    tenant: "default",
    user: "alice",
    device: "tab",
    limits: { frame_bytes_max: 65536, window_events: 512, window_bytes: 2097152, ping_interval_ms: 20000 },
    edge: "edge-1",
    version: "test",
    ...fields,
  };
}

export function batch(prev, pos, events = [{ id: pos, kind: "custom" }]) {
  return { type: "batch", prev, pos, events };
}

/** A session in state live at `held`, its effects taken. */
export function liveSession({ held = position(0), random = () => 0.5, now = 0, limits } = {}) {
  const session = new Session({ device: "tab", from: held, random });
  session.start(now);
  session.opened(now);
  session.receive(welcome({ position: held, tip: held, ...(limits && { limits }) }), 0, now);
  session.takeEffects();
  return session;
}

/** The effects of one kind, taken. */
export function taken(session, what) {
  return session.takeEffects().filter((effect) => effect.do === what);
}

/**
 * One session, one log, one inbox, and every misfortune that the protocol allows for: sockets that break at any time with what was under
 * way lost, batches given twice, batches left out, edges that drain, answers that never come, storage that begins anew.
 */
export class World {
  now = 0;
  epoch = EPOCH;
  /** Positions of the user's log: gaps in the numbers are other users' batches. */
  log = [];
  seq = 0;
  /** What the application was given since the last reset, by position. */
  applied = [];
  resets = 0;
  acked = "";
  stored = new Map();
  /** Ids put into the inbox, how often each. */
  inbox = new Map();
  sent = [];
  refused = [];
  states = ["offline"];
  /** Frames on their way to the client, or null when there is no socket. */
  toClient = null;
  toEdge = [];

  constructor(seed) {
    this.random = seeded(seed);
    this.session = new Session({ device: "tab", from: "earliest", random: this.random });
    this.session.start(this.now);
    this.carryOut();
  }

  chance(probability) {
    return this.random() < probability;
  }

  append() {
    this.seq += 1 + Math.floor(this.random() * 3);
    this.log.push(position(this.seq, this.epoch));
    if (this.toClient && this.welcomed) this.feed();
  }

  /** Give the client what it has not been given, with a misfortune now and then. */
  feed({ honest = false } = {}) {
    for (let index = this.fed; index < this.log.length; index += 1) {
      const frame = batch(index === 0 ? position(0, this.epoch) : this.log[index - 1], this.log[index], [{ id: this.log[index], kind: "custom" }]);
      this.fed = index + 1;
      if (!honest && this.chance(0.03)) continue; // lost between two servers
      this.toClient.push(frame);
      if (!honest && this.chance(0.05)) this.toClient.push(frame);
    }
  }

  /** Storage is wiped and made anew. */
  wipe() {
    this.epoch = Array.from({ length: 8 }, () => "abcdefghijklmnop"[Math.floor(this.random() * 16)]).join("");
    this.log = [];
    this.seq = 0;
    this.breakSocket(1006);
  }

  breakSocket(code) {
    if (this.toClient === null) return;
    this.toClient = null;
    this.toEdge = [];
    this.welcomed = false;
    this.session.closed(code, "", this.now);
    this.carryOut();
  }

  /** The edge reads the next frame of the client. */
  serve({ honest = false } = {}) {
    const frame = this.toEdge.shift();
    if (frame === undefined) return;
    if (frame.type === "hello") this.open(frame.position);
    else if (frame.type === "ack") this.acked = frame.pos;
    else if (frame.type === "ping") this.toClient.push({ type: "pong" });
    else if (frame.type === "send") this.store(frame, honest);
  }

  open(asked) {
    const start = position(0, this.epoch);
    const known = asked === "earliest" ? start : asked;
    const valid = known === start || this.log.includes(known);
    const from = valid ? known : start;
    this.fed = this.log.indexOf(from) + 1;
    this.welcomed = true;
    this.acked = from; // who goes on from there has handled what was before
    const outcome = valid ? { outcome: "resumed" } : { outcome: "reset", reason: "unknown_epoch" };
    this.toClient.push(welcome({ ...outcome, position: from, tip: this.log.at(-1) ?? start }));
  }

  store(frame, honest) {
    if (!honest && this.chance(0.1)) {
      const fields = { type: "error", id: frame.id, code: "unavailable", message: "", retry: true, retry_after_ms: 20 };
      this.toClient.push(fields);
      return;
    }
    const duplicate = this.inbox.has(frame.id);
    this.inbox.set(frame.id, (this.inbox.get(frame.id) ?? 0) + (duplicate ? 0 : 1));
    if (honest || !this.chance(0.1)) this.toClient.push({ type: "sent", id: frame.id, duplicate });
    else this.breakSocket(1006);
  }

  /** The client reads the next frame of the edge. */
  read() {
    const frame = this.toClient?.shift();
    if (frame === undefined) return;
    this.session.receive(frame, JSON.stringify(frame).length, this.now);
    this.carryOut();
  }

  pass(milliseconds) {
    this.now += milliseconds;
    this.session.tick(this.now);
    this.carryOut();
  }

  carryOut() {
    for (let effects = this.session.takeEffects(); effects.length > 0; effects = this.session.takeEffects()) {
      for (const effect of effects) this.#carryOut(effect);
    }
  }

  #carryOut(effect) {
    if (effect.do === "connect") {
      this.toClient = [];
      this.toEdge = [];
      this.welcomed = false;
      this.session.opened(this.now);
    } else if (effect.do === "disconnect") {
      this.toClient = null;
      this.toEdge = [];
      this.welcomed = false;
    } else if (effect.do === "transmit") {
      this.toEdge.push(effect.frame);
    } else if (effect.do === "deliver") {
      this.applied.push(effect.pos);
      this.session.handled(effect.pos, this.now);
    } else if (effect.do === "reset") {
      this.applied = [];
      this.resets += 1;
    } else if (effect.do === "store") {
      this.stored.set("position", effect.pos);
    } else if (effect.do === "state") {
      this.states.push(effect.state);
    } else if (effect.do === "sent") {
      this.sent.push(effect.id);
    } else if (effect.do === "refused") {
      this.refused.push(effect);
    }
  }

  /** One random step. */
  step() {
    const dice = this.random();
    if (dice < 0.25) this.append();
    else if (dice < 0.5) this.read();
    else if (dice < 0.7) this.serve();
    else if (dice < 0.88) this.pass(Math.floor(this.random() * 400));
    else if (dice < 0.93) this.say();
    else if (dice < 0.96) this.breakSocket(this.chance(0.5) ? 1006 : 4003);
    else if (dice < 0.98) this.toClient?.push({ type: "drain", reconnect_in_ms: Math.floor(this.random() * 500) });
    else if (dice < 0.981) this.wipe();
  }

  say() {
    const id = `say-${this.sent.length + this.session.unanswered}-${this.now}-${this.random()}`;
    this.session.send({ type: "send", id, kind: "message", group: "demo", text: "?" }, this.now);
    this.carryOut();
    return id;
  }

  /** Misfortune ends: let everything arrive. Bounded, so that a session that never gets there is noticed. */
  calm() {
    for (let round = 0; round < 2_000; round += 1) {
      while (this.toEdge.length > 0) this.serve({ honest: true });
      if (this.toClient && this.welcomed) this.feed({ honest: true });
      while (this.toClient?.length) this.read();
      const done = this.session.state === "live" && this.session.position === (this.log.at(-1) ?? position(0, this.epoch));
      if (done && this.session.unanswered === 0 && this.toEdge.length === 0 && this.acked === this.session.position) return;
      // The edge looks what the log's tip is: what got lost at the very end has no successor that would show the hole.
      this.fed = Math.min(this.fed, this.log.indexOf(this.session.position) + 1);
      this.pass(Math.max(1, Math.min(1_000, this.session.deadline() - this.now)));
    }
    throw new Error(`not calm after 2,000 rounds: ${this.session.state} at ${this.session.position}, ${this.session.unanswered} unanswered`);
  }
}
