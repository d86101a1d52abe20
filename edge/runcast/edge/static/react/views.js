/**
 * What components are given: frozen copies of what the connection knows, made anew where something changed and nowhere else.
 *
 * React compares by identity, and may draw what it was given later, or twice. The client's runs change in place: what one was is gone. So a
 * run that changed gets a new copy, and in it the items that changed do; what stayed as it was stays the same object, and so does a list of
 * such. A component that shows one run is not drawn for another's text, nor one that shows a tool for its run's.
 *
 * Rules: synchronous, deterministic; `take` tells whether anything changed. What an item or entry holds is replaced by the client and never
 * changed within, so that comparing the fields is enough. Imports nothing. Bound: entries are those of `runs`, so its bound serves.
 *
 * @typedef {import("@runcast/client").Entry} Entry
 * @typedef {import("@runcast/client").Item} Item
 * @typedef {import("@runcast/client").Run} Run
 * @typedef {import("@runcast/client").RunsView} RunsView
 * @typedef {import("./runcast-react.d.ts").Snapshot} Snapshot
 */

/** @type {readonly any[]} */
const NONE = Object.freeze([]);

/** Before there is a connection, and on a server. @type {Snapshot} */
export const NOTHING = Object.freeze({
  state: "connecting",
  detail: Object.freeze({}),
  user: null,
  device: "",
  replay: false,
  timeline: NONE,
  runs: new Map(),
  roots: NONE,
  open: NONE,
  children: new Map(),
});

/**
 * `next`, or `before` where it says the same.
 * @template {object} T
 * @param {T | null | undefined} before
 * @param {T} next
 * @returns {T}
 */
export function keep(before, next) {
  return before && alike(before, next) ? before : Object.freeze(next);
}

/** Whether two objects or lists hold the same. @param {any} one @param {any} other */
export function alike(one, other) {
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => Object.hasOwn(other, name) && Object.is(one[name], other[name]));
}

export class Views {
  /** Copies by what they are of: what the client forgets goes by itself. @type {WeakMap<object, any>} */
  #copies = new WeakMap();
  /** @type {Snapshot} */
  snapshot = NOTHING;

  /** What is known of the connection. @param {Pick<Snapshot, "state" | "detail" | "user" | "device" | "replay">} connection */
  connect(connection) {
    const { snapshot } = this;
    const detail = keep(snapshot.detail, connection.detail);
    const user = connection.user && keep(snapshot.user, connection.user);
    return this.#set({ ...snapshot, ...connection, detail, user });
  }

  /** These entries changed; of the others nothing did. @param {readonly Entry[]} entries @param {RunsView} known all there are */
  take(entries, known) {
    for (const entry of entries) this.#copies.set(entry, entry.type === "run" ? this.#run(entry) : keep(this.#copies.get(entry), { ...entry }));
    const { snapshot } = this;
    /** @param {readonly any[]} before @param {readonly Entry[]} now */
    const list = (before, now) => keep(before, now.map((entry) => this.#copyOf(entry)));
    const timeline = list(snapshot.timeline, known.timeline);
    if (timeline === snapshot.timeline) return false;
    const runs = new Map();
    const children = new Map();
    for (const entry of known.timeline) {
      if (entry.type !== "run") continue;
      runs.set(entry.id, this.#copyOf(entry));
      const below = known.children(entry.id);
      if (below.length > 0) children.set(entry.id, list(snapshot.children.get(entry.id) ?? NONE, below));
    }
    return this.#set({ ...snapshot, timeline, runs, children, roots: list(snapshot.roots, known.roots), open: list(snapshot.open, known.open) });
  }

  /** @param {Entry} entry */
  #copyOf(entry) {
    let copy = this.#copies.get(entry);
    if (copy === undefined) {
      copy = entry.type === "run" ? this.#run(entry) : Object.freeze({ ...entry });
      this.#copies.set(entry, copy);
    }
    return copy;
  }

  /** @param {Run} run @returns {Run} */
  #run(run) {
    const before = this.#copies.get(run);
    /** @param {"items" | "tools" | "messages" | "errors" | "requests"} what */
    const list = (what) => keep(before?.[what], run[what].map((item) => this.#item(item)));
    const items = list("items");
    return keep(before, /** @type {any} */ ({ ...run, items, tools: list("tools"), messages: list("messages"), errors: list("errors"), requests: list("requests") }));
  }

  /** @param {Item} item */
  #item(item) {
    const copy = keep(this.#copies.get(item), { ...item });
    this.#copies.set(item, copy);
    return copy;
  }

  /** @param {Snapshot} next */
  #set(next) {
    const before = this.snapshot;
    this.snapshot = keep(before, next);
    return this.snapshot !== before;
  }
}
