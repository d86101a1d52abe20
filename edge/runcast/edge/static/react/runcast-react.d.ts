/** React hooks over Runcast's browser client. See README.md, and `@runcast/client` for what runs, events and errors are. */

import type {
  Change,
  Connection,
  Entry,
  ErrorInfo,
  Kind,
  Options,
  Run,
  RuncastEvent,
  RunSummary,
  Sent,
  State,
  StateDetail,
  UserMessage,
} from "@runcast/client";
import type { FunctionComponentElement, ProviderProps, ReactNode } from "react";

/**
 * Those of `connect`. A `token` that changes goes on with the same session; all others, and the URL, begin another connection when they
 * change. Default of `from`: "earliest", because components forget what they showed.
 */
export type RuncastOptions = Partial<Options>;

/** What is known of the connection. */
export interface ConnectionStatus {
  readonly state: State;
  /** Why: what came with the state. */
  readonly detail: StateDetail;
  /** Who the edge takes us for; null before the first welcome. */
  readonly user: { readonly tenant: string; readonly user: string } | null;
  /** "" before there is a connection. */
  readonly device: string;
  /** What comes is a recording that is played again: nothing of it happens now, and nothing that is sent reaches anybody. */
  readonly replay: boolean;
}

/** All that is known: frozen, and the same object until something changes; so is every part of it. */
export interface Snapshot extends ConnectionStatus {
  /** Runs, sub-agents' among them, and user messages, in the order of the stream. */
  readonly timeline: readonly Readonly<Entry>[];
  readonly runs: ReadonlyMap<string, Readonly<Run>>;
  /** Runs that no run known here started. */
  readonly roots: readonly Readonly<Run>[];
  /** Runs that have not ended. */
  readonly open: readonly Readonly<Run>[];
  /** Sub-agents' runs by the run that started them; a run that started none is not in it. */
  readonly children: ReadonlyMap<string, readonly Readonly<Run>[]>;
}

/** The same functions for as long as the connection is: they need not be listed as what an effect depends on. */
export interface Actions {
  /** Resolves when the message is stored. Rejects with a `RuncastError`, with code `closed` after the component is gone. */
  readonly send: Connection["send"];
  readonly cancel: Connection["cancel"];
  readonly answer: Connection["answer"];
}

/**
 * A connection for as long as this component is there, with everything that it tells: drawn whenever anything changes, at most once a frame.
 * Not two of it on one page for one user; where several components show something, use `RuncastProvider`.
 */
export function useRuncast(url: string, options?: RuncastOptions): Snapshot & Actions;

/** A connection for all components below, for as long as this one is there. */
export function RuncastProvider(
  props: { url: string; children?: ReactNode } & RuncastOptions,
): FunctionComponentElement<ProviderProps<any>>;

/** The connection's state, for who shows it. */
export function useConnection(): ConnectionStatus;

/** One run, drawn when that run changes. Undefined while it is not known, and when it is forgotten. */
export function useRun(id: string): Readonly<Run> | undefined;

/**
 * What was said, and runs that no other run started, in order; of runs only which they are, so that this is drawn when one begins and not for
 * what it does: `useRun(id)`. Of one thread, or of all.
 */
export function useTimeline(thread?: string): readonly (Readonly<UserMessage> | { readonly type: "run"; readonly id: string })[];

/** Ids of the runs that this one started, in order. */
export function useChildRuns(id: string): readonly string[];

export function useActions(): Actions;

/** Whatever is wanted of the snapshot: drawn when it changes, as far as `same` (default: `Object.is`) tells. `select` must be pure. */
export function useSelected<T>(select: (snapshot: Snapshot) => T, same?: (one: T, other: T) => boolean): T;

/** Call `fn`, as it was drawn last, for what happens: see `rc.on` of `@runcast/client`. History is told, too. */
export function useRuncastEvent(what: Kind | "event", fn: (event: RuncastEvent, change: Change) => void): void;
export function useRuncastEvent(what: "error", fn: (error: ErrorInfo) => void): void;
export function useRuncastEvent(what: "state", fn: (state: State, detail: StateDetail) => void): void;
export function useRuncastEvent(what: "reset", fn: (reason: string) => void): void;
export function useRuncastEvent(what: "snapshot", fn: (runs: RunSummary[]) => void): void;
export function useRuncastEvent(what: "sent", fn: (sent: Sent) => void): void;
