/**
 * The client's side of one session with an edge: a pure machine that decides; `runcast.js` carries out.
 *
 * Theory. The stream is a chain: every batch says `prev -> pos`. A client that holds position p takes a batch whose `prev` is p and then
 * holds its `pos`; a batch at or before p is a repeat and is dropped; anything else is a gap, and the client connects again from p, so that
 * the edge sends what is missing. Nothing but p has to survive a broken connection. Acknowledgements are cumulative, so only the newest
 * counts, and one is sent for many events.
 *
 * What the application sends waits in `sends.js` until it is answered, and goes out again after a reconnect under the same id.
 *
 * Rules: inputs are synchronous and carry the time (`now`, milliseconds, never going back); randomness is passed in; what is to be done
 * is fetched with `takeEffects()`; `deadline()` says when `tick()` is wanted next.
 * Invariants: delivered positions form one chain from the position that `welcome` gave; a position is acknowledged only after `handled`;
 * every send ends in exactly one `sent` or `refused`; one session is one user's; `closed` is final.
 * Knows no WebSocket, timer, clock or storage.
 *
 * PROTOCOL.md: "Resuming", "What a client does", "Close codes".
 */

import { Acks } from "./acks.js";
import { LIMITS } from "./limits.js";
import { notAfter } from "./position.js";
import { Renewal } from "./renewal.js";
import { refused, Sends } from "./sends.js";

/** @typedef {import("./sends.js").Frame} Frame @typedef {import("./sends.js").Effect} Effect */

/** What may follow what. @type {Readonly<Record<string, Readonly<Record<string, import("./runcast.d.ts").State>>>>} */
export const TABLE = Object.freeze({
  offline: { due: "connecting", stopped: "closed" },
  connecting: { opened: "resuming", dropped: "offline", barred: "closed", stopped: "closed" },
  resuming: { caught_up: "live", fell_behind: "behind", dropped: "offline", barred: "closed", stopped: "closed" },
  live: { fell_behind: "behind", dropped: "offline", barred: "closed", stopped: "closed" },
  behind: { caught_up: "live", dropped: "offline", barred: "closed", stopped: "closed" },
  closed: {},
});

/**
 * Whether a client comes back by itself after this close code. Clients branch on the range alone.
 * @param {number} code
 */
export function comesBack(code) {
  return code !== 1009 && code < 4500; // there are none above 4999
}

export class Session {
  /** @type {import("./runcast.d.ts").State} */
  #state = "offline";
  /** @type {Effect[]} */
  #effects = [];
  /** The newest position delivered; "" before the first welcome. */
  #held = "";
  #from = "";
  #device = "";
  /** What the next hello says of it. @type {boolean | undefined} */
  #snapshot;
  #random;
  /** @type {{frameBytesMax: number, pingIntervalMs: number}} */
  #allowed = { frameBytesMax: LIMITS.frameBytesMax, pingIntervalMs: LIMITS.pingIntervalMs };
  /** Something that came on this connection was left, because the application is a window behind. */
  #left = false;
  /** Frames flow: `welcome` came. */
  #welcomed = false;
  #tip = "";
  /** Connections since the last that brought something. */
  #attempts = 0;
  #welcomedAt = 0;
  /** offline: when to connect. connecting, resuming before welcome: when to give up. */
  #until = 0;
  /** When the edge wants this client to go elsewhere. @type {number | null} */
  #drainAt = null;
  #heardAt = 0;
  /** What the edge said last about this connection, before it ended it. @type {import("./runcast.d.ts").ErrorInfo | null} */
  #blame = null;
  /** When the edge wants this client back, should it close now: not sooner. */
  #notBefore = 0;
  /** When the unanswered ping is given up. @type {number | null} */
  #pongUntil = null;
  #acks = new Acks();
  #renewal;
  #sends;

  /** Batches dropped as repeats; gaps seen; sockets asked for. Since the beginning. */
  counts = { repeats: 0, gaps: 0, connects: 0 };
  /** What the newest welcome said; null before. @type {Frame | null} */
  welcome = null;

  /**
   * @param {object} options
   * @param {string} options.device names this client of the user, 1 to 128 bytes
   * @param {string} options.from where to begin: "earliest", "latest", a position, or "" (where the edge knows this device to be)
   * @param {() => number} options.random a number in [0, 1)
   * @param {boolean} [options.snapshot] true: ask for a snapshot to begin with; false: never have one; absent: the edge decides
   */
  constructor({ device, from, random, snapshot }) {
    this.#device = device;
    this.#snapshot = snapshot;
    this.#from = from;
    this.#random = random;
    this.#renewal = new Renewal(random);
    this.#sends = new Sends((tries) => this.#jitter(tries));
    if (!["", "earliest", "latest"].includes(from)) this.#held = from;
  }

  get state() {
    return this.#state;
  }

  /** The newest position delivered; "" before the first welcome. */
  get position() {
    return this.#held;
  }

  /** How many sends are unanswered. */
  get unanswered() {
    return this.#sends.size;
  }

  /** What is to be carried out, in this order. Each is given once. @returns {Effect[]} */
  takeEffects() {
    return this.#effects.splice(0);
  }

  /** When `tick` is wanted, on the clock of `now`; Infinity when nothing is waited for. */
  deadline() {
    if (this.#state === "closed") return Infinity;
    const alive = this.#welcomed ? [this.#pongUntil ?? this.#heardAt + this.#allowed.pingIntervalMs, this.#drainAt ?? Infinity] : [this.#until];
    return Math.min(this.#sends.deadline(this.#welcomed), this.#acks.due, this.#renewal.due, ...alive);
  }

  // --- inputs: the application ---

  /** Begin. @param {number} now */
  start(now) {
    if (this.#state === "offline") this.#connect(now);
  }

  /**
   * Take something for an agent; it ends in `sent` or `refused`.
   * @param {Frame} frame with `type: "send"` and an `id` of its own
   * @param {number} now
   */
  send(frame, now) {
    if (this.#state === "closed") {
      this.#effects.push(refused(frame.id, "closed", "this connection was closed; open another", true));
    } else {
      this.#effects.push(...this.#sends.add(frame, now, this.#allowed.frameBytesMax));
      this.#pump(now);
    }
  }

  /**
   * The application has handled what was delivered up to `pos`.
   * @param {string} pos
   * @param {number} now
   */
  handled(pos, now) {
    this.#acks.handled(pos, now);
    if (now >= this.#acks.due) this.flush();
    if (this.#acks.fullness > LIMITS.behindTo) return;
    if (this.#left) this.#drop(now, "room");
    else if (this.#welcomed) this.#catchUp();
  }

  /** A new token: tell the edge before the old one expires; leave a connection under way with that. @param {string} token @param {number} now */
  refresh(token, now) {
    if (this.#welcomed) this.#transmit({ type: "refresh", token });
    else if (TABLE[this.#state].dropped) this.#drop(now, "refresh");
  }

  /**
   * There is reason to look now: the page became visible, or the network came back.
   * @param {number} now
   */
  nudge(now) {
    if (this.#state === "offline") {
      this.#until = Math.min(this.#until, Math.max(now, this.#notBefore) + this.#random() * LIMITS.backoffFirstMs);
    } else if (this.#welcomed && this.#pongUntil === null && now - this.#heardAt > LIMITS.probeMs) {
      this.#ping(now, LIMITS.probeMs);
    }
  }

  /** End for good. */
  close() {
    if (this.#state === "closed") return;
    this.flush();
    if (this.#state !== "offline") this.#effects.push({ do: "disconnect", reason: "closed" });
    this.#end("stopped", { code: 1000, reason: "closed by the application" });
  }

  // --- inputs: the socket ---

  /** The socket is open. @param {number} now */
  opened(now) {
    if (this.#state !== "connecting") return;
    this.#move("opened", {});
    this.#heardAt = now;
    this.#until = now + LIMITS.welcomeTimeoutMs;
    const snapshot = this.#snapshot; // undefined: JSON leaves it out
    this.#transmit({ type: "hello", device: this.#device, position: this.#held || this.#from, snapshot });
  }

  /**
   * A frame came.
   * @param {any} frame the parsed JSON, not yet trusted
   * @param {number} size characters of its text
   * @param {number} now
   */
  receive(frame, size, now) {
    if (!["resuming", "live", "behind"].includes(this.#state)) return undefined;
    this.#heardAt = now;
    this.#pongUntil = null;
    const type = frame?.type;
    if (typeof type !== "string") return this.#drop(now, "frame_invalid");
    if (type === "welcome") return this.#welcome(frame, now);
    if (type === "error") return this.#error(frame, now);
    if (!this.#welcomed) return undefined;
    if (type === "batch") return this.#batch(frame, size, now);
    if (type === "sent") return this.#sent(frame, now);
    if (type === "refreshed") this.#renewal.expires(frame.token_expires_in_ms, now);
    if (type === "drain") this.#drainAt = now + Math.min(LIMITS.drainMaxMs, Math.max(0, Number(frame.reconnect_in_ms) || 0));
    // pong was heard, and that is all it says; a type that is not known here is left to newer clients.
    return undefined;
  }

  /**
   * The socket is gone, not by our doing.
   * @param {number} code close code, 1006 when there was none
   * @param {string} reason
   * @param {number} now
   */
  closed(code, reason, now) {
    if (this.#state === "closed" || this.#state === "offline") return;
    if (comesBack(code)) return this.#offline(now, { code, reason }, code >= 4000 ? this.#notBefore : now);
    this.#welcomed = false;
    this.flush();
    // position_malformed: what is stored is what the edge could not read. Kept, it would bar the next page load as well.
    if (code === 4504) this.#effects.push({ do: "store", pos: "", force: true });
    if (this.#blame === null) {
      this.#effects.push({ do: "error", error: { code: String(code), message: reason, id: "", retry: false, definite: true } });
    }
    this.#end("barred", { code, reason: this.#blame?.message || reason });
  }

  // --- inputs: time ---

  /** Do what is due. @param {number} now */
  tick(now) {
    if (this.#state === "closed") return;
    this.#effects.push(...this.#sends.expire(now));
    if (now >= this.#acks.due) this.flush();
    if (now >= this.#renewal.due) {
      this.#renewal.tried(now);
      this.#effects.push({ do: "renew" });
    }
    if (this.#state === "offline") {
      if (now >= this.#until) this.#connect(now);
    } else if (!this.#welcomed) {
      if (now >= this.#until) this.#drop(now, this.#state === "connecting" ? "connect_timeout" : "welcome_timeout");
    } else if (this.#drainAt !== null && now >= this.#drainAt) {
      this.#drop(now, "drained");
    } else if (this.#pongUntil !== null && now >= this.#pongUntil) {
      this.#drop(now, "silent");
    } else {
      if (this.#pongUntil === null && now - this.#heardAt >= this.#allowed.pingIntervalMs) this.#ping(now, this.#allowed.pingIntervalMs);
      this.#pump(now);
    }
  }

  // --- frames ---

  /** @param {Frame} frame @param {number} now */
  #welcome(frame, now) {
    if (this.#welcomed) return;
    if (typeof frame.position !== "string" || typeof frame.tip !== "string" || typeof frame.limits !== "object") return this.#drop(now, "frame_invalid");
    const { tenant, user } = this.welcome ?? frame;
    if (tenant !== frame.tenant || user !== frame.user) {
      // Nobody sees, or says, what is another's: whoever it is begins anew.
      this.#effects.push({ do: "disconnect", reason: "closed" });
      return this.closed(4501, "another user's token", now);
    }
    const resumed = frame.outcome === "resumed";
    if (resumed && this.#held && !notAfter(frame.position, this.#held)) {
      // It would skip something without saying so.
      this.counts.gaps += 1;
      return this.#drop(now, "gap");
    }
    this.#welcomed = true;
    this.#welcomedAt = now;
    this.welcome = frame;
    this.#tip = frame.tip;
    const { frame_bytes_max, window_events, window_bytes, ping_interval_ms } = frame.limits;
    this.#allowed = { frameBytesMax: frame_bytes_max, pingIntervalMs: ping_interval_ms };
    this.#acks.open(window_events, window_bytes);
    this.#renewal.expires(frame.token_expires_in_ms, now);
    if (!resumed) {
      this.#held = "";
      this.#acks.reset();
      this.#effects.push({ do: "reset", reason: frame.reason || frame.outcome }, { do: "store", pos: frame.position, force: true });
      if (frame.outcome === "snapshot") this.#effects.push({ do: "snapshot", runs: frame.runs ?? [] });
    }
    this.#held ||= frame.position;
    this.#acks.begin(frame.position, now);
    this.#pump(now);
    this.#catchUp();
  }

  /** @param {Frame} frame @param {number} size @param {number} now */
  #batch(frame, size, now) {
    this.#lag();
    if (typeof frame.prev !== "string" || typeof frame.pos !== "string" || !Array.isArray(frame.events)) {
      this.#drop(now, "frame_invalid");
    } else if (this.#left || (frame.prev === this.#held && this.#acks.fullness >= 1)) {
      // The window is full of what earlier connections brought; an edge counts only its own. What comes now is fetched again when there is room.
      this.#left = true;
    } else if (frame.prev === this.#held) {
      this.#held = frame.pos;
      this.#attempts = 0;
      this.#acks.arrived(frame.pos, frame.events.length, size);
      this.#effects.push({ do: "deliver", pos: frame.pos, events: frame.events });
      if (this.#state === "resuming") this.#catchUp();
    } else if (notAfter(frame.pos, this.#held)) {
      this.counts.repeats += 1;
      this.#acks.repeated(frame.pos, now);
    } else {
      this.counts.gaps += 1;
      this.#drop(now, "gap");
    }
  }

  /** @param {Frame} frame @param {number} now */
  #sent(frame, now) {
    if (!this.#sends.answered(frame.id)) return;
    this.#effects.push({ do: "sent", id: frame.id, duplicate: frame.duplicate === true });
    this.#pump(now);
  }

  /** @param {Frame} frame @param {number} now */
  #error(frame, now) {
    const { code, message, id = "", retry = false, definite = true, retry_after_ms = 0 } = frame;
    if (!this.#sends.has(id)) {
      this.#blame = { code, message, id, retry, definite };
      this.#notBefore = now + Math.min(LIMITS.drainMaxMs, Math.max(0, Number(retry_after_ms) || 0));
      this.#effects.push({ do: "error", error: this.#blame });
    } else if (retry) {
      this.#sends.postpone(id, now, definite, retry_after_ms);
    } else {
      this.#sends.answered(id);
      this.#effects.push(refused(id, code, message, definite));
      this.#pump(now);
    }
  }

  /** @param {number} now */
  #pump(now) {
    if (!this.#welcomed) return;
    for (const frame of this.#sends.take(now)) this.#transmit(frame);
  }

  // --- acknowledgements ---

  /** Say and store what was handled: it is due, or the page may be gone in a moment. */
  flush() {
    const pos = this.#acks.take();
    if (!pos) return;
    if (this.#welcomed) this.#transmit({ type: "ack", pos });
    this.#effects.push({ do: "store", pos, force: false });
  }

  // --- the connection ---

  /** @param {Frame} frame */
  #transmit(frame) {
    this.#effects.push({ do: "transmit", frame });
  }

  /** @param {number} now @param {number} patience */
  #ping(now, patience) {
    this.#pongUntil = now + patience;
    this.#transmit({ type: "ping" });
  }

  /** @param {number} now */
  #connect(now) {
    this.#move("due", {});
    this.#until = now + LIMITS.connectTimeoutMs;
    this.#blame = null;
    this.#notBefore = 0;
    this.counts.connects += 1;
    this.#effects.push({ do: "connect" });
  }

  /** It is where the edge was when it began, and takes what comes: from there on it is live. */
  #catchUp() {
    if (!TABLE[this.#state].caught_up || !notAfter(this.#tip, this.#held)) return;
    this.#snapshot &&= undefined; // from here on there is something to go on from
    this.#move("caught_up", {});
  }

  /** More comes, and the application has had its time for what came before: is it behind? */
  #lag() {
    if (TABLE[this.#state].fell_behind && this.#acks.fullness >= LIMITS.behindFrom) this.#move("fell_behind", { reason: "untaken" });
  }

  /** Leave this socket and come back. @param {number} now @param {string} reason */
  #drop(now, reason) {
    this.flush();
    this.#effects.push({ do: "disconnect", reason });
    this.#offline(now, { code: 0, reason });
  }

  /** @param {number} now @param {{code: number, reason: string}} why @param {number} [notBefore] */
  #offline(now, why, notBefore = now) {
    if (this.#welcomed && now - this.#welcomedAt >= LIMITS.stableMs) this.#attempts = 0;
    if (this.#drainAt !== null) {
      this.#until = Math.max(now, this.#drainAt); // the edge spreads its clients over time; its word replaces the backoff
    } else {
      this.#until = Math.max(now, notBefore) + this.#jitter(this.#attempts);
      this.#attempts += 1;
    }
    this.#notBefore = notBefore;
    this.#welcomed = this.#left = false;
    this.flush();
    this.#drainAt = null;
    this.#pongUntil = null;
    this.#renewal.stop();
    this.#sends.disconnected();
    this.#move("dropped", { ...why, retryInMs: this.#until - now });
  }

  /** @param {"stopped" | "barred"} input @param {import("./runcast.d.ts").StateDetail} why */
  #end(input, why) {
    this.#welcomed = false;
    this.#effects.push(...this.#sends.abandon(why.reason ?? ""));
    this.#move(input, why);
  }

  /** Full jitter: anything up to the doubled wait. @param {number} attempts */
  #jitter(attempts) {
    return this.#random() * Math.min(LIMITS.backoffMaxMs, LIMITS.backoffFirstMs * 2 ** Math.min(attempts, 16));
  }

  /** @param {string} input @param {import("./runcast.d.ts").StateDetail} detail */
  #move(input, detail) {
    const next = TABLE[this.#state][input];
    if (next === undefined) throw new Error(`${input} can't come in state ${this.#state}`);
    this.#state = next;
    this.#effects.push({ do: "state", state: next, detail });
  }
}
