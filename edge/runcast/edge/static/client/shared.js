/**
 * One connection for all tabs of a page: carries out what `tab.js` decides, with a real WebSocket, Web Lock and BroadcastChannel.
 *
 * `runcast.js` loads this where the browser has them. What `sharing` gives takes the place of `new WebSocket`: the line that it opens looks like
 * one, whether this tab's own socket feeds it or another tab.
 *
 * Rules: a tab that is hidden for good, frozen or done leaves the group, so that another leads. A browser that refuses the lock or the
 * channel leaves each tab its own connection.
 */

import { Tab } from "./tab.js";

/** What `Connection` wants of a socket. */
class Line {
  /** As of a WebSocket: 0 connecting, 1 open, 3 closed. */
  readyState = 0;
  /** @type {() => void} */
  onopen = () => {};
  /** @type {(event: {data: string, frame?: any}) => void} */
  onmessage = () => {};
  /** @type {(event: {code: number, reason: string}) => void} */
  onclose = () => {};

  /** @param {(data: string) => void} send @param {(code: number, reason: string) => void} close */
  constructor(send, close) {
    this.send = send;
    this.close = close;
  }
}

/**
 * @param {URL} url of the edge
 * @param {AbortSignal} signal the connection is closed for good
 * @returns {(protocols: string[]) => Line} opens a line
 */
export function sharing(url, signal) {
  const party = new Party(url, signal);
  return (protocols) => party.dial(protocols);
}

class Party {
  #url;
  #tab;
  /** @type {Line | null} */
  #line = null;
  /** @type {WebSocket | null} */
  #socket = null;
  #name = "";
  /** @type {BroadcastChannel | null} */
  #channel = null;
  /** Our place in the queue for the lock, or the lock itself. @type {{leave: () => void} | null} */
  #place = null;
  #busy = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {URL} url @param {AbortSignal} signal */
  constructor(url, signal) {
    this.#url = url;
    this.#tab = new Tab(url.href);
    const leave = () => this.#input(() => this.#tab.left());
    document.addEventListener("freeze", leave, { signal });
    addEventListener("pagehide", leave, { signal });
    signal.addEventListener("abort", leave);
  }

  /** @param {string[]} protocols */
  dial(protocols) {
    const socket = (this.#socket = new WebSocket(this.#url, protocols));
    const line = (this.#line = new Line(
      (data) => this.#input(() => this.#tab.said(JSON.parse(data), data)),
      (code, reason) => line === this.#line && this.#close(code, reason),
    ));
    /** Only what the current socket says counts. @param {() => void} input */
    const current = (input) => socket === this.#socket && input();
    socket.onopen = () =>
      current(() => {
        line.readyState = 1;
        line.onopen();
      });
    socket.onmessage = ({ data }) => current(() => this.#input(() => this.#tab.framed(parse(data), data)));
    socket.onclose = ({ code, reason }) =>
      current(() => {
        this.#socket = null;
        this.#input(() => this.#tab.closed());
        this.#end(code, reason);
      });
    return line;
  }

  /** The session leaves the line. @param {number} code @param {string} reason */
  #close(code, reason) {
    this.#line = null;
    this.#hangUp(code, reason);
    this.#input(() => this.#tab.closed(reason));
  }

  /** @param {(now: number) => void} input */
  #input(input) {
    input(performance.now());
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let effects = this.#tab.takeEffects(); effects.length > 0; effects = this.#tab.takeEffects()) {
        for (const effect of effects) this.#carryOut(effect);
      }
    } finally {
      this.#busy = false;
    }
    clearTimeout(this.#timer);
    const wait = this.#tab.deadline() - performance.now();
    if (wait < Infinity) this.#timer = setTimeout(() => this.#input((now) => this.#tab.tick(now)), Math.max(0, wait));
  }

  /** @param {import("./tab.js").Effect} effect */
  #carryOut(effect) {
    switch (effect.do) {
      case "join":
        return this.#join(effect.name);
      case "queue":
        return this.#queue(false);
      case "steal":
        return this.#queue(true);
      case "release":
        return this.#release();
      case "leave":
        this.#release();
        this.#channel?.close();
        this.#channel = null;
        return undefined;
      case "post":
        return this.#channel?.postMessage(effect.message);
      case "pass":
        return this.#line?.onmessage(effect);
      case "forward":
        if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(effect.data);
        return undefined;
      case "hang_up":
        return this.#hangUp(1000, "shared");
      case "end":
        this.#hangUp(1000, effect.reason);
        return this.#end(1012, effect.reason);
    }
  }

  /** @param {number} code @param {string} reason */
  #hangUp(code, reason) {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(code, reason);
  }

  /** @param {number} code @param {string} reason */
  #end(code, reason) {
    const line = this.#line;
    this.#line = null;
    if (line === null) return;
    line.readyState = 3;
    line.onclose({ code, reason });
  }

  /** @param {string} name */
  #join(name) {
    if (this.#channel && this.#name === name) return;
    this.#channel?.close();
    this.#name = name;
    try {
      this.#channel = new BroadcastChannel(name);
      this.#channel.onmessage = ({ data }) => this.#input((now) => this.#tab.heard(data, now));
    } catch {
      this.#channel = null; // forbidden here: nobody is heard, and nobody followed
    }
  }

  /** @param {boolean} steal */
  #queue(steal) {
    this.#release();
    const abort = new AbortController();
    /** @type {() => void} */
    let free = () => {};
    const held = new Promise((resolve) => (free = () => resolve(undefined)));
    const place = (this.#place = { leave: () => (abort.abort(), free()) });
    const granted = () => {
      if (place === this.#place) this.#input(() => this.#tab.granted());
      return held;
    };
    navigator.locks.request(this.#name, steal ? { steal } : { signal: abort.signal }, granted).catch(() => {
      if (place === this.#place) this.#input(() => this.#tab.lost()); // stolen; or forbidden, then it was never held
    });
  }

  #release() {
    const place = this.#place;
    this.#place = null;
    place?.leave();
  }
}

/** @param {string} data */
function parse(data) {
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}
