/**
 * Several tabs of one page, each a session and a tab machine, one log, one inbox, and every misfortune that browsers allow for: tabs that are
 * closed with and without a word, that freeze unseen and thaw, connections that break, messages between tabs that come late.
 *
 * Time is a number that the world moves; nothing here waits. What the edge is told is judged on the spot.
 */

import assert from "node:assert/strict";

import { Session } from "../../edge/runcast/edge/static/client/session.js";
import { Tab } from "../../edge/runcast/edge/static/client/tab.js";
import { batch, position, seeded, welcome } from "./model.mjs";

const DEDUPE_MS = 120_000;

/** Small, so that it is full now and then: events that the edge sends beyond the last acknowledgement. */
const WINDOW = 8;
const LIMITS = { frame_bytes_max: 65536, window_events: WINDOW, window_bytes: 2097152, ping_interval_ms: 20000 };

/** Frames of one tab's connection. */
class Socket {
  toClient = [];
  toEdge = [];
  /** How much of the log it was given; -1 before `hello`. */
  fed = -1;
  acked = 0;

  /** @param {string} user whom its token names */
  constructor(user) {
    this.user = user;
  }
}

export class Page {
  socket = null;
  frozen = false;
  /** Its application takes nothing. */
  slow = false;
  /** Name of the channel that it listens on. */
  channel = "";
  /** What other tabs said and it has not heard, by tab. @type {Map<Page, object[]>} */
  inbox = new Map();
  /** Given to the application, in order, and how many of them it is done with. */
  applied = [];
  handled = 0;
  sent = [];
  refused = [];
  #busy = false;

  constructor(world, user, from) {
    this.world = world;
    this.user = user;
    this.first = from;
    this.session = new Session({ device: "browser", from, random: world.random });
    this.tab = new Tab("ws://edge/v1/ws");
    this.input(() => this.session.start(world.now));
  }

  /** Give either machine an input, and carry out what both decide. */
  input(give) {
    give();
    if (this.#busy) return;
    this.#busy = true;
    for (;;) {
      const effects = this.tab.takeEffects();
      if (effects.length === 0) effects.push(...this.session.takeEffects());
      if (effects.length === 0) break;
      for (const effect of effects) this.#carryOut(effect);
    }
    this.#busy = false;
  }

  #carryOut(effect) {
    const { world, session, tab } = this;
    switch (effect.do) {
      case "connect":
        this.socket = new Socket(this.user);
        return this.input(() => session.opened(world.now));
      case "disconnect":
        this.socket = null;
        return this.input(() => tab.closed(effect.reason));
      case "transmit":
        return this.input(() => tab.said(effect.frame, JSON.stringify(effect.frame)));
      case "deliver":
        return this.applied.push(effect.pos);
      case "state":
        return effect.state === "closed" ? this.input(() => tab.left()) : undefined;
      case "sent":
        return this.sent.push(effect.id);
      case "refused":
        return this.refused.push(effect.id);
      case "join":
        this.channel = effect.name;
        return undefined;
      case "queue":
      case "steal":
        return world.queue(this, effect.do === "steal");
      case "release":
        return world.release(this);
      case "leave":
        this.channel = "";
        this.inbox.clear();
        return world.release(this);
      case "post":
        for (const other of world.pages) {
          if (other === this || other.channel === "" || other.channel !== this.channel) continue;
          other.inbox.set(this, [...(other.inbox.get(this) ?? []), structuredClone(effect.message)]);
        }
        return undefined;
      case "pass":
        return this.input(() => session.receive(JSON.parse(effect.data), effect.data.length, world.now));
      case "forward":
        return this.socket?.toEdge.push(effect.data);
      case "hang_up":
        this.socket = null;
        return undefined;
      case "end":
        this.socket = null;
        return this.input(() => session.closed(1012, effect.reason, world.now));
    }
  }

  /** The application is done with some of what it was given. */
  handle(count = this.applied.length - this.handled) {
    if (this.slow) return;
    for (let left = Math.min(count, this.applied.length - this.handled); left > 0; left -= 1) {
      const pos = this.applied[this.handled];
      this.handled += 1;
      this.world.handled.add(pos);
      this.input(() => this.session.handled(pos, this.world.now));
    }
  }

  breakSocket(code) {
    if (this.socket === null) return;
    this.socket = null;
    this.input(() => this.tab.closed());
    this.input(() => this.session.closed(code, "", this.world.now));
  }

  /** Hear the next thing that some other tab said. */
  hear() {
    const waiting = [...this.inbox].filter(([, messages]) => messages.length > 0);
    if (waiting.length === 0) return false;
    const [, messages] = waiting[Math.floor(this.world.random() * waiting.length)];
    const message = messages.shift();
    this.input(() => this.tab.heard(message, this.world.now));
    return true;
  }

  /** Read the next frame of the edge. */
  read() {
    const frame = this.socket?.toClient.shift();
    if (frame === undefined) return false;
    this.input(() => this.tab.framed(frame, JSON.stringify(frame)));
    return true;
  }

  tick() {
    const { now } = this.world;
    this.input(() => this.tab.tick(now));
    this.input(() => this.session.tick(now));
  }

  deadline() {
    return Math.min(this.session.deadline(), this.tab.deadline());
  }
}

export class Browser {
  now = 0;
  log = [];
  seq = 0;
  /** @type {Page[]} */
  pages = [];
  /** Pages that want to lead, the leader first; by group. @type {Map<string, Page[]>} */
  queues = new Map();
  /** Positions that some application is done with. */
  handled = new Set();
  /** When a send was stored first, by id. */
  stored = new Map();
  said = 0;

  constructor(seed, tabs = 3) {
    this.random = seeded(seed);
    for (let number = 0; number < tabs; number += 1) this.open();
  }

  chance(probability) {
    return this.random() < probability;
  }

  pick(pages) {
    return pages[Math.floor(this.random() * pages.length)];
  }

  get awake() {
    return this.pages.filter((page) => !page.frozen);
  }

  open(user = "alice", from = "earliest") {
    const page = new Page(this, user, from);
    this.pages.push(page);
    return page;
  }

  append() {
    this.seq += 1 + Math.floor(this.random() * 3);
    this.log.push(position(this.seq));
  }

  // --- the lock ---

  queue(page, steal) {
    this.release(page);
    const queue = this.queues.get(page.channel) ?? [];
    this.queues.set(page.channel, queue);
    const robbed = steal ? queue.shift() : undefined;
    if (steal) queue.unshift(page);
    else queue.push(page);
    if (robbed) this.later(robbed, () => robbed.tab.lost());
    if (queue[0] === page) this.later(page, () => queue[0] === page && page.tab.granted());
  }

  release(page) {
    for (const queue of this.queues.values()) {
      const place = queue.indexOf(page);
      if (place < 0) continue;
      queue.splice(place, 1);
      const [next] = queue;
      if (place === 0 && next) this.later(next, () => queue[0] === next && next.tab.granted());
    }
  }

  /** What browsers tell a page they tell it in its own time. */
  #later = [];
  later(page, give) {
    this.#later.push([page, give]);
  }

  tell() {
    const index = this.#later.findIndex(([page]) => !page.frozen);
    if (index < 0) return false;
    const [[page, give]] = this.#later.splice(index, 1);
    if (this.pages.includes(page)) page.input(give);
    return true;
  }

  // --- the edge ---

  /** The edge reads the next frame of a page's connection. */
  serve(page, { honest = false } = {}) {
    const socket = page.socket;
    const data = socket?.toEdge.shift();
    if (data === undefined) return false;
    const frame = JSON.parse(data);
    if (frame.type === "hello") {
      const from = frame.position === "earliest" ? position(0) : frame.position;
      socket.fed = socket.acked = this.log.indexOf(from) + 1;
      assert.ok(socket.fed > 0 || from === position(0), `${from} is no position`);
      const fields = { position: from, tip: this.log.at(-1) ?? position(0), user: socket.user, device: frame.device, limits: LIMITS };
      socket.toClient.push(welcome(fields));
    } else if (frame.type === "ack") {
      assert.ok(this.log.indexOf(frame.pos) < socket.fed, "an acknowledgement of what was not sent on this connection");
      assert.ok(frame.pos === position(0) || this.handled.has(frame.pos), "an acknowledgement of what nobody handled");
      socket.acked = Math.max(socket.acked, this.log.indexOf(frame.pos) + 1);
    } else if (frame.type === "refresh") {
      if (frame.token === socket.user) socket.toClient.push({ type: "refreshed" });
      else page.breakSocket(4501);
    } else if (frame.type === "ping") {
      socket.toClient.push({ type: "pong" });
    } else if (frame.type === "send") {
      const before = this.stored.get(frame.id);
      assert.ok(before === undefined || this.now - before < DEDUPE_MS, "stored twice");
      if (before === undefined) this.stored.set(frame.id, this.now);
      if (honest || !this.chance(0.1)) socket.toClient.push({ type: "sent", id: frame.id, duplicate: before !== undefined });
      else page.breakSocket(1006);
    }
    return true;
  }

  feed(page) {
    const { socket } = page;
    if (socket === null || socket.fed < 0 || socket.fed >= this.log.length || socket.fed - socket.acked >= WINDOW) return false;
    socket.toClient.push(batch(this.log[socket.fed - 1] ?? position(0), this.log[socket.fed]));
    socket.fed += 1;
    return true;
  }

  // --- what happens ---

  /** A tab is gone, with a word or without. */
  close(page, { word }) {
    if (word) page.input(() => page.tab.left());
    this.pages = this.pages.filter((each) => each !== page);
    page.socket = null;
    this.release(page);
  }

  say(page) {
    this.said += 1;
    const id = `say-${this.said}`;
    page.input(() => page.session.send({ type: "send", id, kind: "message", group: "demo", text: "?" }, this.now));
  }

  /** The page is given a token of this user's. */
  refresh(page, user) {
    page.user = user;
    page.input(() => page.session.refresh(user, this.now));
  }

  pass(milliseconds) {
    this.now += milliseconds;
    for (const page of this.awake) page.tick();
  }

  step() {
    const dice = this.random();
    const page = this.pick(this.awake);
    if (page === undefined || dice < 0.01) return this.pages.length < 5 ? void this.open() : undefined;
    if (dice < 0.2) return this.append();
    if (dice < 0.4) return void page.hear();
    if (dice < 0.55) return void page.read();
    if (dice < 0.65) return void this.serve(page);
    if (dice < 0.75) return void this.feed(page);
    if (dice < 0.82) return page.handle(1 + Math.floor(this.random() * 4));
    if (dice < 0.88) return void this.tell();
    if (dice < 0.94) return this.pass(Math.floor(this.random() * 400));
    if (dice < 0.955) return this.say(page);
    if (dice < 0.96) return this.refresh(page, page.user);
    if (dice < 0.975) return page.breakSocket(this.chance(0.5) ? 1006 : 4003);
    if (dice < 0.985) return this.close(page, { word: this.chance(0.5) });
    if (dice < 0.99) return void (page.frozen = true);
    for (const each of this.pages) each.frozen = false;
    if (this.chance(0.1)) this.pass(30_000);
    return undefined;
  }

  /** Everything that is under way arrives, at these pages. */
  settle(pages) {
    for (let busy = true; busy; ) {
      busy = this.tell();
      for (const page of pages) {
        busy = this.serve(page, { honest: true }) || busy;
        busy = this.feed(page) || busy;
        busy = page.read() || busy;
        busy = page.hear() || busy;
        page.handle();
      }
    }
  }

  /** Misfortune ends: let everything arrive. Bounded, so that tabs that never agree are noticed. */
  calm() {
    for (const page of this.pages) page.frozen = false;
    if (this.pages.length === 0) this.open();
    for (let round = 0; round < 3_000; round += 1) {
      this.settle(this.pages);
      if (this.#settled()) return;
      const deadline = Math.min(...this.pages.map((page) => page.deadline()));
      this.pass(Math.max(1, Math.min(1_000, deadline - this.now)));
    }
    throw new Error(`not calm: ${this.pages.map(({ tab, session }) => `${tab.state}/${session.state} at ${session.position}`)}`);
  }

  #settled() {
    const tip = this.log.at(-1) ?? position(0);
    const open = this.pages.filter(({ session }) => session.state !== "closed");
    const groups = new Map(open.map((page) => [page.user, open.filter(({ user }) => user === page.user)]));
    return (
      open.every(({ session }) => session.state === "live" && session.position === tip && session.unanswered === 0) &&
      [...groups.values()].every((pages) => {
        const leading = pages.filter(({ tab }) => tab.state === "leading");
        const following = pages.filter(({ tab, socket }) => tab.state === "following" && socket === null);
        return leading.length === 1 && following.length === pages.length - 1;
      })
    );
  }
}
