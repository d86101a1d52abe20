/**
 * React hooks over Runcast's browser client.
 *
 *     <RuncastProvider url="/v1/ws" token={token}>…</RuncastProvider>      one connection for all below it
 *     const run = useRun(id)                                              drawn for this run alone
 *     const { state, timeline, send } = useRuncast("/v1/ws", { token })   all of it, for a page of one component
 *
 * Rules: a connection is there for as long as the component that opened it; what components are given is frozen, and the same object until
 * it changes (`views.js`); they are drawn at most once a frame. On a server nothing is connected and nothing is known.
 */

import { createContext, createElement, useContext, useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import { alike, NOTHING } from "./views.js";
import { Watch } from "./watch.js";

/** @typedef {import("./runcast-react.d.ts").Snapshot} Snapshot */
/** @typedef {import("./runcast-react.d.ts").RuncastOptions} RuncastOptions */

/** What is drawn on a server, and where a page takes over what a server drew. */
const nothing = () => NOTHING;

const Provided = createContext(/** @type {Watch | null} */ (null));

/** @type {typeof import("./runcast-react.d.ts").RuncastProvider} */
export function RuncastProvider({ url, children, ...options }) {
  return createElement(Provided.Provider, { value: useWatch(url, options) }, children);
}

/** @type {typeof import("./runcast-react.d.ts").useRuncast} */
export function useRuncast(url, options = {}) {
  const watch = useWatch(url, options);
  const snapshot = useSyncExternalStore(watch.subscribe, watch.getSnapshot, nothing);
  return useMemo(() => ({ ...snapshot, ...watch.actions }), [snapshot, watch]);
}

/** @type {typeof import("./runcast-react.d.ts").useSelected} */
export function useSelected(select, same = Object.is) {
  const watch = useProvided();
  const drawn = useRef(/** @type {{value: any} | null} */ (null));
  const choose = useMemo(() => {
    /** @param {() => Snapshot} get */
    const choice = (get) => {
      /** @type {{of: Snapshot, value: any} | null} */
      let newest = null;
      return () => {
        const of = get();
        if (newest?.of === of) return newest.value;
        const value = select(of);
        // What says the same is the same: also when `select` is a new function each time, as one written in place is.
        const before = newest ?? drawn.current;
        newest = { of, value: before && same(before.value, value) ? before.value : value };
        return newest.value;
      };
    };
    return { here: choice(watch.getSnapshot), onServer: choice(nothing) };
  }, [watch, select, same]);
  const value = useSyncExternalStore(watch.subscribe, choose.here, choose.onServer);
  useEffect(() => {
    drawn.current = { value };
  }, [value]);
  return value;
}

/** @type {typeof import("./runcast-react.d.ts").useConnection} */
export function useConnection() {
  return useSelected(connectionOf, alike);
}

/** @type {typeof import("./runcast-react.d.ts").useRun} */
export function useRun(id) {
  return useSelected((snapshot) => snapshot.runs.get(id));
}

/** @type {typeof import("./runcast-react.d.ts").useTimeline} */
export function useTimeline(thread) {
  return useSelected((snapshot) => timelineOf(snapshot, thread), sameEntries);
}

/** @type {typeof import("./runcast-react.d.ts").useChildRuns} */
export function useChildRuns(id) {
  return useSelected((snapshot) => snapshot.children.get(id)?.map((run) => run.id) ?? [], alike);
}

/** @type {typeof import("./runcast-react.d.ts").useActions} */
export function useActions() {
  return useProvided().actions;
}

/** @param {string} what @param {(...args: any[]) => void} fn */
export function useRuncastEvent(what, fn) {
  const watch = useProvided();
  const newest = useRef(fn);
  useEffect(() => {
    newest.current = fn;
  });
  useEffect(() => watch.on(what, (...args) => newest.current(...args)), [watch, what]);
}

/** @param {string} url @param {RuncastOptions} options */
function useWatch(url, options) {
  const { token, ...rest } = options;
  // Were React to drop what it remembers here, as it may, this would cost a new connection and nothing else.
  const watch = useMemo(() => new Watch(url, options), [url, typeof token, JSON.stringify(Object.entries(rest).sort())]);
  useEffect(() => watch.renew(token), [watch, token]);
  useEffect(() => {
    watch.open();
    return () => watch.close();
  }, [watch]);
  return watch;
}

function useProvided() {
  const watch = useContext(Provided);
  if (watch === null) throw new Error("this hook needs a <RuncastProvider> above it; a page of one component may use useRuncast(url, options)");
  return watch;
}

/** @param {Snapshot} snapshot */
function connectionOf({ state, detail, user, device, replay }) {
  return { state, detail, user, device, replay };
}

/** @param {Snapshot} snapshot @param {string} [thread] */
function timelineOf({ timeline, roots }, thread) {
  const tops = new Set(roots);
  return timeline
    .filter((entry) => (thread === undefined || entry.thread === thread) && (entry.type === "user" || tops.has(entry)))
    .map((entry) => (entry.type === "user" ? entry : { type: entry.type, id: entry.id }));
}

/** @param {readonly {type: string, id: string}[]} one @param {readonly {type: string, id: string}[]} other */
function sameEntries(one, other) {
  return one.length === other.length && one.every(({ type, id }, index) => other[index].id === id && other[index].type === type);
}
