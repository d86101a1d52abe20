/**
 * One connection for as long as a component is there, as React's stores are: `subscribe` and `getSnapshot`.
 *
 * Rules: making one does nothing, for React may make one and drop it. `open` connects; `close` takes effect at the end of the moment, and
 * not if `open` comes before: in StrictMode React takes every component away and puts it back at once, and that is no reason to connect
 * twice. What was unmounted draws nothing more. What a connection ended for good has told stays to be seen, until a newer token begins anew.
 */

import { connect, RuncastError } from "@runcast/client";
import { Views } from "./views.js";

/** @typedef {import("@runcast/client").Connection} Connection */
/** @typedef {import("./runcast-react.d.ts").RuncastOptions} RuncastOptions */

export class Watch {
  #url;
  #options;
  /** @type {RuncastOptions["token"]} */
  #token;
  /** What the connection began with. @type {RuncastOptions["token"]} */
  #begunWith;
  /** @type {Connection | null} */
  #rc = null;
  #views = new Views();
  /** What changed since components were told. @type {Set<import("@runcast/client").Entry>} */
  #changed = new Set();
  #wanted = false;
  #over = false;
  /** @type {Set<() => void>} */
  #listeners = new Set();
  /** @type {Set<{what: string, fn: (...args: any[]) => void, off: () => void}>} */
  #handlers = new Set();

  /** @param {string} url @param {RuncastOptions} options */
  constructor(url, { token, ...options }) {
    this.#url = url;
    this.#token = token;
    this.#options = options;
  }

  /** @param {() => void} listener */
  subscribe = (listener) => {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  };

  getSnapshot = () => this.#views.snapshot;

  /** What a page does; the same functions for good. */
  actions = Object.freeze({
    /** @type {Connection["send"]} */
    send: (message) => this.#ask((rc) => rc.send(message)),
    /** @type {Connection["cancel"]} */
    cancel: (runId, reason) => this.#ask((rc) => rc.cancel(runId, reason)),
    /** @type {Connection["answer"]} */
    answer: (/** @type {any[]} */ ...given) => this.#ask((rc) => /** @type {any} */ (rc.answer)(...given)),
  });

  /** The component is there. */
  open() {
    this.#wanted = true;
    this.#over = false;
    this.#connection();
  }

  /** The component is gone, unless it is back before the moment is over. */
  close() {
    this.#wanted = false;
    queueMicrotask(() => {
      if (this.#wanted) return;
      this.#over = true;
      this.#end();
    });
  }

  /** A component was drawn with this one. @param {RuncastOptions["token"]} token */
  renew(token) {
    if (token === this.#token) return;
    this.#token = token;
    if (typeof token !== "string" || this.#rc === null) return;
    if (this.#rc.state === "closed") this.#beginAnew();
    else this.#rc.refresh(token);
  }

  /** @param {string} what @param {(...args: any[]) => void} fn */
  on(what, fn) {
    const handler = { what, fn, off: () => {} };
    this.#handlers.add(handler);
    if (this.#rc !== null) this.#hear(this.#rc, handler);
    return () => {
      handler.off();
      this.#handlers.delete(handler);
    };
  }

  /** @template T @param {(rc: Connection) => Promise<T>} ask @returns {Promise<T>} */
  async #ask(ask) {
    // A child's effects run before those of what it stands in: it may ask first.
    if (!this.#over) return ask(this.#connection());
    throw new RuncastError({ code: "closed", message: "the component that held the connection is gone", id: "", retry: false, definite: true });
  }

  #connection() {
    return this.#rc ?? this.#begin();
  }

  #begin() {
    const token = (this.#begunWith = this.#token);
    const asked = typeof token === "function" ? () => /** @type {() => string | Promise<string>} */ (this.#token)() : token;
    const rc = connect(this.#url, { from: "earliest", ...this.#options, token: asked });
    this.#rc = rc;
    rc.on("event", (_, { run, item }) => {
      const entry = run ?? item;
      if (entry?.type === "run" || entry?.type === "user") this.#changed.add(entry);
    });
    rc.on("change", () => this.#draw(rc));
    rc.on("state", () => this.#draw(rc));
    for (const handler of this.#handlers) this.#hear(rc, handler);
    this.#draw(rc);
    return rc;
  }

  /**
   * A new state is told at once, and with it all that came before: who is told "live" and sees no run may rely on there being none.
   * @param {Connection} rc
   */
  #draw(rc) {
    if (rc !== this.#rc) return;
    if (rc.state === "closed" && typeof this.#token === "string" && this.#token !== this.#begunWith) {
      this.#beginAnew();
      return;
    }
    const { state, detail, user, device, replay } = rc;
    const drawn = [...this.#changed];
    this.#changed.clear();
    const changes = [this.#views.connect({ state, detail, user, device, replay }), this.#views.take(drawn, rc.runs)];
    if (changes.includes(true)) this.#tell();
  }

  /** The connection has ended for good, and there is a token that it did not begin with: maybe another user's, so nothing is kept. */
  #beginAnew() {
    this.#end();
    this.#views = new Views();
    this.#changed.clear();
    this.#begin();
  }

  #end() {
    const rc = this.#rc;
    this.#rc = null;
    for (const handler of this.#handlers) handler.off();
    rc?.close();
  }

  /** @param {Connection} rc @param {{what: string, fn: (...args: any[]) => void, off: () => void}} handler */
  #hear(rc, handler) {
    handler.off = rc.on(/** @type {any} */ (handler.what), handler.fn);
  }

  #tell() {
    for (const listener of [...this.#listeners]) listener();
  }
}
