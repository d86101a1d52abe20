/**
 * Runcast's browser client: carries out what `session.js` decides, with a real WebSocket, timer and storage.
 *
 *     import { connect } from "/client/runcast.js";
 *     const rc = connect("/v1/ws", { token, from: "earliest" });
 *     rc.on("agent_response", (event, { run }) => show(run));
 *     await rc.send({ group: "demo", text: "How do I read a CSV file?" });
 *
 * Where `token` is a function it is asked for another before the old one ends, as far as the edge knows that end; the session goes on with it.
 * A token that is over all the same is asked for anew by the next connection; where it is a text, that is the end.
 *
 * Rules: one timer, set to the session's deadline; handlers run synchronously, in order, and what they throw is reported like any uncaught
 * error and stops nothing; a position is stored and acknowledged only after the handlers ran. Storage that is absent, blocked or full costs
 * the stored position and nothing else.
 *
 * PROTOCOL.md: "Devices: WebSocket". Types and their words: `runcast.d.ts`.
 */

import { Changes, pageFrames } from "./changes.js";
import { deviceOfBrowser, deviceOfTab, keep, newId, ownerOf, storage } from "./device.js";
import { LIMITS } from "./limits.js";
import { complete, openRequests, Runs } from "./runs.js";
import { notAfter } from "./position.js";
import { Session } from "./session.js";
import { Taking } from "./taking.js";

export { newId, openRequests };

export class RuncastError extends Error {
  /** @param {import("./runcast.d.ts").ErrorInfo} info */
  constructor({ code, message, id, retry, definite }) {
    super(`${code}: ${message}`);
    Object.assign(this, { name: "RuncastError", code, id, retry, definite });
  }
}

/** An id as a token: `[A-Za-z0-9-]` stays, every other byte of its UTF-8 becomes `_XX`. @param {string} id */
export function encodeToken(id) {
  return Array.from(new TextEncoder().encode(id), (byte) => {
    const char = String.fromCharCode(byte);
    return /[A-Za-z0-9-]/.test(char) ? char : `_${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }).join("");
}

/** @type {typeof import("./runcast.d.ts").devToken} */
export function devToken(user, tenant = "default") {
  return `dev.${encodeToken(tenant)}.${encodeToken(user)}`;
}

/** @type {typeof import("./runcast.d.ts").connect} */
export function connect(url, options) {
  return new Connection(url, options);
}

/**
 * @typedef {import("./runcast.d.ts").Connection} PublicConnection
 * @typedef {(protocols: string[]) => Line | WebSocket} Dial
 * @typedef {ReturnType<ReturnType<typeof import("./shared.js").sharing>>} Line
 */

/** @implements {PublicConnection} */
class Connection {
  #url;
  /** "" while there is none: a cookie serves, or it is asked for. @type {string} */
  #token;
  /** @type {(() => string | Promise<string>) | null} */
  #askToken;
  /** What the current connection waits for, if it waits for a token. @type {object | null} */
  #asking = null;
  /** The newest try to get the next token early. @type {object | null} */
  #renewing = null;
  #positionKey;
  #session;
  runs = new Runs(LIMITS.entriesMax);
  /** What opens a socket; a promise while that is loaded. @type {Dial | Promise<Dial>} */
  #dial = (protocols) => new WebSocket(this.#url, protocols);
  /** @type {ReturnType<Dial> | null} */
  #socket = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #busy = false;
  #now = monotonicClock();
  /** @type {Map<string, Set<(...args: any[]) => void>>} */
  #handlers = new Map();
  /** Sends that a caller waits for. @type {Map<string, {resolve: (sent: import("./runcast.d.ts").Sent) => void, reject: (error: Error) => void}>} */
  #waiting = new Map();
  #leave = new AbortController();
  /** @type {string[]} */
  log = [];
  #taking = new Taking();
  /** Loops that wait for an event. @type {Set<() => void>} */
  #takers = new Set();
  #changes = new Changes(pageFrames(LIMITS.changeWaitMs), (entries, reset) => this.#emit("change", entries, reset));
  /** What came with the newest state. @type {import("./runcast.d.ts").StateDetail} */
  detail = {};
  device;

  /** @param {string} url @param {import("./runcast.d.ts").Options} options */
  constructor(url, { token = "", device, from = "stored", user, snapshot, share = true }) {
    this.#url = new URL(url, location.href);
    this.#url.protocol = this.#url.protocol.replace(/^http/, "ws");
    [this.#token, this.#askToken] = typeof token === "string" ? [token, null] : ["", token];
    const owner = user ?? ownerOf(this.#token);
    const signal = this.#leave.signal;
    const shares = share && navigator.locks && globalThis.BroadcastChannel;
    this.device = device ?? (shares ? deviceOfBrowser(owner, signal) : deviceOfTab(signal));
    const alone = this.#dial;
    if (shares) this.#dial = import("./shared.js").then(({ sharing }) => sharing(this.#url, signal)).catch(() => alone);
    this.#positionKey = owner && `runcast.position ${this.#url.href} ${owner}`;
    const begin = from === "stored" ? this.#storedPosition() : from;
    this.#session = new Session({ device: this.device, from: begin, random: Math.random, snapshot });

    const nudge = () => this.#input((now) => document.hidden || this.#session.nudge(now));
    for (const what of ["visibilitychange", "online", "pageshow"]) addEventListener(what, nudge, { signal });
    addEventListener("pagehide", () => this.#input(() => this.#session.flush()), { signal });
    this.#input((now) => this.#session.start(now));
  }

  get state() {
    return this.#session.state;
  }

  get position() {
    return this.#session.position;
  }

  get user() {
    const welcome = this.#session.welcome;
    return welcome && { tenant: welcome.tenant, user: welcome.user };
  }

  get edge() {
    return this.#session.welcome?.edge ?? "";
  }

  get replay() {
    return this.#session.welcome?.replay === true;
  }

  get counts() {
    return this.#session.counts;
  }

  /** @param {string} what @param {(...args: any[]) => void} fn */
  on(what, fn) {
    const handlers = this.#handlers.get(what) ?? new Set();
    this.#handlers.set(what, handlers.add(fn));
    return () => void handlers.delete(fn);
  }

  /** @param {import("./runcast.d.ts").SendMessage} message */
  send({ id, group, thread, text, data }) {
    return this.#send({ kind: "message", group, thread, text, data }, id);
  }

  /** @param {string} runId @param {string} [reason] */
  cancel(runId, reason) {
    return this.#send({ kind: "cancel", run_id: runId, reason });
  }

  /**
   * @param {any} run a Run, its id, or a SendAnswer, which says it all
   * @param {any} [request] an InputRequest, or its id
   * @param {unknown} [value]
   */
  answer(run, request, value) {
    const { group, thread, runId, requestId, value: data } = run.runId ? run : { runId: run.id ?? run, requestId: request?.requestId ?? request, value };
    return this.#send({ kind: "answer", group, thread, run_id: runId, request_id: requestId, data });
  }

  /** @param {string} token */
  refresh(token) {
    this.#token = token;
    this.#input((now) => this.#session.refresh(token, now));
  }

  close() {
    this.#input(() => this.#session.close());
  }

  /** @param {Record<string, unknown>} fields @param {string} [id] @returns {Promise<import("./runcast.d.ts").Sent>} */
  #send(fields, id = newId()) {
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#input((now) => this.#session.send({ type: "send", id, ...fields }, now));
    });
  }

  /**
   * Give the session an input, then carry out what it decided. An input from inside a handler waits for the effects before it.
   * @param {(now: number) => unknown} input
   */
  #input(input) {
    input(this.#now());
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let effects = this.#session.takeEffects(); effects.length > 0; effects = this.#session.takeEffects()) {
        for (const effect of effects) this.#carryOut(effect);
      }
    } finally {
      this.#busy = false;
    }
    clearTimeout(this.#timer);
    const deadline = this.#session.deadline();
    if (deadline < Infinity) this.#timer = setTimeout(() => this.#input((now) => this.#session.tick(now)), Math.max(0, deadline - this.#now()));
  }

  /** @param {import("./sends.js").Effect} effect */
  #carryOut(effect) {
    switch (effect.do) {
      case "connect":
        return this.#open();
      case "disconnect":
        return this.#drop(effect.reason);
      case "renew":
        return this.#renew();
      case "transmit":
        return this.#socket?.readyState === WebSocket.OPEN && this.#socket.send(JSON.stringify(effect.frame));
      case "deliver":
        return this.#deliverAll(effect.pos, effect.events);
      case "reset":
        this.runs.reset();
        this.log.length = 0;
        this.#taking.reset();
        this.#changes.reset();
        return this.#emit("reset", effect.reason);
      case "snapshot":
        return this.#emit("snapshot", effect.runs);
      case "store":
        return this.#store(effect.pos, effect.force);
      case "state":
        this.detail = effect.detail;
        if (effect.state === "closed") {
          this.#leave.abort();
          this.#wake();
        }
        return this.#emit("state", effect.state, effect.detail);
      case "sent": {
        const sent = { id: effect.id, duplicate: effect.duplicate };
        this.#settle(effect.id)?.resolve(sent);
        return this.#emit("sent", sent);
      }
      case "refused":
        return this.#settle(effect.id)?.reject(new RuncastError(effect.error));
      case "error":
        return this.#emit("error", effect.error);
    }
  }

  /** @param {string} pos @param {import("./runcast.d.ts").RuncastEvent[]} events */
  #deliverAll(pos, events) {
    const changes = [];
    for (const event of events) {
      if (this.state === "closed") return; // a handler ended it; what is left was not handled
      const change = this.#deliver(complete(event));
      if (change) changes.push(change);
    }
    this.#taking.add(pos, changes);
    this.#settleTaken();
    this.#wake();
  }

  #settleTaken() {
    for (const pos of this.#taking.handled()) this.#session.handled(pos, this.#now());
  }

  #wake() {
    for (const wake of this.#takers) wake();
    this.#takers.clear();
  }

  /** @returns {AsyncIterator<import("./runcast.d.ts").Change, void>} */
  [Symbol.asyncIterator]() {
    this.#taking.begin();
    /** What the loop has in hand. @type {ReturnType<Taking["take"]>} */
    let held;
    const put = () => {
      if (held) this.#taking.done(held.lot);
      held = undefined;
      this.#input(() => this.#settleTaken());
    };
    return {
      next: async () => {
        put();
        for (;;) {
          held = this.#taking.take();
          if (held) return { value: held.change };
          if (this.state === "closed") return { value: undefined, done: true };
          await new Promise((resolve) => this.#takers.add(() => resolve(undefined)));
        }
      },
      return: async () => {
        put();
        return { value: undefined, done: true };
      },
    };
  }

  /** @param {import("./runcast.d.ts").RuncastEvent} event */
  #deliver(event) {
    const change = this.runs.apply(event);
    if (change === null) return null;
    const entry = /** @type {import("./runcast.d.ts").Entry | null} */ (change.run ?? change.item); // what is of no run is what a user said
    if (entry) this.#changes.add(entry);
    if (this.log.push(event.id) > LIMITS.logMax) this.log.shift();
    this.#emit(event.kind, event, change);
    this.#emit("event", event, change);
    return change;
  }

  /** @param {string} what @param {any[]} args */
  #emit(what, ...args) {
    for (const handler of [...(this.#handlers.get(what) ?? [])]) {
      try {
        handler(...args);
      } catch (error) {
        reportError(error);
      }
    }
  }

  /** @param {string} id */
  #settle(id) {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    return waiting;
  }

  // --- the socket ---

  async #open() {
    const asking = (this.#asking = {});
    try {
      const token = this.#token || (await this.#askToken?.()) || "";
      const dial = await this.#dial;
      if (asking !== this.#asking) return; // given up meanwhile; the next connection asks again
      this.#token = token;
      this.#listen(dial(["runcast.v1.json", ...(token ? [`runcast.token.${token}`] : [])]), token);
    } catch (error) {
      reportError(error);
      if (asking === this.#asking) this.#input((now) => this.#session.closed(1006, "no token could be had", now));
    }
  }

  /** What is asked for the session that is open replaces nothing if a newer try overtook it. */
  async #renew() {
    const renewing = (this.#renewing = {});
    try {
      const token = await this.#askToken?.();
      if (token && renewing === this.#renewing) this.refresh(token);
    } catch (error) {
      reportError(error); // the session asks again
    }
  }

  /** @param {ReturnType<Dial>} socket @param {string} token what it was opened with */
  #listen(socket, token) {
    this.#asking = null;
    this.#socket = socket;
    /** Only what the current socket says counts. @param {(now: number) => void} input */
    const current = (input) => socket === this.#socket && this.#input(input);
    socket.onopen = () => current((now) => this.#session.opened(now));
    socket.onmessage = (/** @type {any} */ { data, frame = parse(data) }) => current((now) => this.#session.receive(frame, data.length, now));
    socket.onclose = (/** @type {any} */ { code, reason }) =>
      current((now) => {
        // token_expired: come back with another token. A text stays what it is, and nobody can be asked: unauthenticated.
        if (code === 4012 && this.#askToken) this.#token = "";
        if (code === 4012 && token && token === this.#token) code = 4501;
        this.#session.closed(code, reason, now);
      });
  }

  /** @param {string} reason */
  #drop(reason) {
    const socket = this.#socket;
    this.#socket = this.#asking = null;
    socket?.close(1000, reason);
  }

  // --- storage ---

  #storedPosition() {
    return (this.#positionKey && storage("localStorage")?.getItem(this.#positionKey)) || "";
  }

  /** Tabs share the stored position, so it only goes forward unless the session says otherwise. @param {string} pos @param {boolean} force */
  #store(pos, force) {
    if (!this.#positionKey || (!force && notAfter(pos, this.#storedPosition()))) return;
    keep("localStorage", this.#positionKey, pos);
  }
}

/** @param {unknown} data */
function parse(data) {
  try {
    return JSON.parse(/** @type {string} */ (data));
  } catch {
    return null; // the session calls it an invalid frame, and connects again
  }
}

/**
 * Milliseconds that never go back and count sleep: `performance.now` stops in some sleeping browsers, and `Date.now` may be set back.
 */
function monotonicClock() {
  let [now, steady, wall] = [0, performance.now(), Date.now()];
  return () => {
    const [steadyNext, wallNext] = [performance.now(), Date.now()];
    now += Math.max(steadyNext - steady, wallNext - wall, 0);
    [steady, wall] = [steadyNext, wallNext];
    return now;
  };
}
