/** Runcast's browser client: an agent's events, in order, once, on every device. See PROTOCOL.md. */

/** connecting: a socket is being opened. resuming: catching up. live: caught up. behind: a loop (`for await`) has not taken half of what the edge gives before it waits, until it has and is caught up. offline: waiting to connect again. closed: for good. */
export type State = "connecting" | "resuming" | "live" | "behind" | "offline" | "closed";

export type Kind =
  | "agent_started"
  | "agent_thinking"
  | "tool_executing"
  | "tool_completed"
  | "agent_response"
  | "agent_completed"
  | "agent_error"
  | "user_message"
  | "run_cancelled"
  | "run_lost"
  | "input_requested"
  | "input_resolved"
  | "custom"
  | "unknown";

/** One event, as PROTOCOL.md describes it, with every field filled in. `data` holds the kind's own fields; those that are empty are absent. */
export interface RuncastEvent {
  id: string;
  kind: Kind;
  run_id: string;
  attempt: number;
  seq: number;
  /** Set (above 0) when this one stands for all of the run's events from first_seq to seq: a page that was behind gets text merged. */
  first_seq: number;
  /** Milliseconds since the Unix epoch. */
  time_unix_ms: number;
  agent: string;
  thread: string;
  parent_run_id: string;
  traceparent: string;
  data: { [field: string]: any };
}

export type RunStatus = "running" | "waiting" | "completed" | "cancelled" | "failed" | "lost";

export interface Tool {
  type: "tool";
  /** Of one call at a time: it may be used again after this call's end. */
  callId: string;
  tool: string;
  purpose: string;
  /** JSON value; undefined when there is none. */
  args: unknown;
  /** lost: the run ended without saying what became of it. */
  status: "running" | "ok" | "error" | "cancelled" | "lost" | (string & {});
  result: unknown;
  error: string;
  estimateMs: number | null;
  durationMs: number | null;
  /** Milliseconds since the Unix epoch; null when its beginning was not seen. */
  startedAt: number | null;
}

export interface Message {
  type: "message";
  id: string;
  text: string;
  /** No more text of this message follows. */
  final: boolean;
}

export interface RunError {
  type: "error";
  severity: "recoverable" | "degraded" | "fatal" | (string & {});
  category: string;
  message: string;
  suggestions: string[];
  retrying: boolean;
  retryAfterMs: number | null;
}

export interface InputRequest {
  type: "input";
  requestId: string;
  inputType: "approval" | "question" | "choice" | (string & {});
  prompt: string;
  options: string[];
  default: unknown;
  expiresAt: number | null;
  /** Show it as a question while it is open. A run that has ended asks no more: what was open then is withdrawn. */
  status: "open" | "answered" | "defaulted" | "withdrawn" | (string & {});
  /** What the run went on with; undefined while it is open, and when it was withdrawn. */
  value: unknown;
  /** The device that answered; "" otherwise. */
  device: string;
}

export interface CustomItem {
  type: "custom";
  name: string;
  data: unknown;
}

export type Item = Tool | Message | RunError | InputRequest | CustomItem;

export interface Run {
  type: "run";
  id: string;
  attempt: number;
  /** The newest event applied. */
  seq: number;
  agent: string;
  thread: string;
  parentRunId: string;
  title: string;
  /** Id of the user message that it answers; "" when nobody asked. */
  replyTo: string;
  input: unknown;
  status: RunStatus;
  /** Milliseconds since the Unix epoch; null when its beginning was not seen. */
  startedAt: number | null;
  endedAt: number | null;
  /** What it is occupied with; null when it has said nothing, or has ended. `urgency`: "low", "normal" or "high"; `remainingMs`: an estimate. */
  thinking: { text: string; progress: number | null; step: number; steps: number; urgency: string; remainingMs: number | null } | null;
  /** Everything below, in the order in which it began. */
  items: Item[];
  tools: Tool[];
  messages: Message[];
  errors: RunError[];
  /** All that it asked the user; `openRequests(run)` are those that are not settled. */
  requests: InputRequest[];
  summary: string;
  result: unknown;
  /** Why it was cancelled or lost. */
  reason: string;
}

export interface UserMessage {
  type: "user";
  id: string;
  text: string;
  data: unknown;
  device: string;
  group: string;
  thread: string;
  at: number;
}

export type Entry = Run | UserMessage;

/** A run that is under way, as a snapshot announces it before its events come. */
export interface RunSummary {
  run_id: string;
  attempt: number;
  agent?: string;
  thread?: string;
  title?: string;
  /** Its newest event's. */
  seq: number;
  started_unix_ms?: number;
}

/** What an event did. */
export interface Change {
  event: RuncastEvent;
  run: Run | null;
  item: Item | UserMessage | null;
}

/** All that is known of the user's runs. Read it; only the connection changes it. */
export interface RunsView {
  readonly timeline: readonly Entry[];
  readonly open: Run[];
  readonly forgotten: number;
  /** Runs that no run known here started, in the order of the stream: the tops of the trees that `children` leads down. */
  readonly roots: Run[];
  /** Runs that this one started, in the order of the stream. No run is below itself. */
  children(runId: string): Run[];
  get(runId: string): Run | undefined;
}

export interface StateDetail {
  /** Close code; 0 when this side ended the connection. closed with 4507: this client is of another version than the edge; load the page again. */
  code?: number;
  /**
   * What the edge said, or a close reason, or: gap, silent, drained, connect_timeout, welcome_timeout, frame_invalid, room (back for what was left
   * while `behind`), handover (another tab led, or will); behind: untaken.
   */
  reason?: string;
  /** offline: when the next attempt is, milliseconds from now. */
  retryInMs?: number;
}

/** Codes are those of PROTOCOL.md, and of this client: `closed`, `outbox_full`, or a close code as text. */
export interface ErrorInfo {
  code: string;
  message: string;
  /** The send that it answers; "" otherwise. */
  id: string;
  retry: boolean;
  /** True: nothing was stored, for certain. False: it may have been. */
  definite: boolean;
}

/** What a send is rejected with. */
export class RuncastError extends Error implements ErrorInfo {
  constructor(info: ErrorInfo);
  code: string;
  id: string;
  retry: boolean;
  definite: boolean;
}

export interface Options {
  /**
   * Says who the user is. Sent as a subprotocol entry, so it appears in no URL. A function is asked for the first connection; again
   * when most of the token's time is over, as far as the edge knows its end, so that the session goes on; and when it is over all the same.
   * While it fails at that, the connection stays offline and asks again. A text that is over leaves `closed` with 4501. Absent: a cookie serves.
   */
  token?: string | (() => string | Promise<string>);
  /**
   * Names this client of the user, 1 to 128 bytes, the same after a reload. Default: one for this browser and user, where tabs can share; else
   * one for each tab.
   */
  device?: string;
  /**
   * Whether this page's tabs that are the same device of the same user, at the same edge, share one connection, where the browser can (Web
   * Locks and BroadcastChannel). Default: true. What a tab is shown is the same either way. See PROTOCOL.md, "Tabs that share".
   */
  share?: boolean;
  /**
   * Where to begin. "stored" (default): where this browser stopped reading, for applications that keep what they read. "earliest": all that
   * is still kept, for those that do not. "latest": only what is to come. Or a position that a `rc.position` gave.
   */
  from?: "stored" | "earliest" | "latest" | (string & {});
  /** Whose position is stored, when `token` is opaque, a function or absent: anything that is the same for the same user. */
  user?: string;
  /**
   * true: begin with a snapshot: ended runs come as their messages and outcome, without tools, thinking and what else they did; open ones as
   * far as they are. false: never have one. Absent: the edge gives one when very much was missed. A snapshot is preceded by "reset".
   */
  snapshot?: boolean;
}

export interface SendMessage {
  /** Its own id, see `newId`; the same again for a resend after a reload. Default: a new one. */
  id?: string;
  group: string;
  text: string;
  thread?: string;
  /** Further content, any JSON value. */
  data?: unknown;
}

export interface SendAnswer {
  /** The agent group whose inbox the answer goes to. Absent: to the process that asked. */
  group?: string;
  runId: string;
  requestId: string;
  value: unknown;
  thread?: string;
}

export interface Sent {
  /** Also the id of the `user_message` event that every device is shown. */
  id: string;
  /** It had been stored before: this was a resend. */
  duplicate: boolean;
}

/**
 * As an async iterable: every event in order, once, with what it did. From the first loop on an event is handled, and acknowledged, when the
 * loop asks for the next or ends; until then it waits, and at most a window of them (`welcome.limits`): then the edge waits too. So who loops
 * once goes on looping, or uses `on`. Several loops share the events; what one leaves, the next takes. At `reset` what was not taken is dropped: it is told
 * anew. It ends after `close`. What a loop is given is live: `run` may be ahead of `event`.
 */
export interface Connection extends AsyncIterable<Change> {
  readonly state: State;
  /** Why: what came with the state. */
  readonly detail: StateDetail;
  /** The newest position delivered; "" before the first welcome. */
  readonly position: string;
  readonly device: string;
  /** Who the edge takes us for; null before the first welcome. */
  readonly user: { tenant: string; user: string } | null;
  /** Which edge answered last; "" before the first welcome. */
  readonly edge: string;
  /** What comes is a recording that is played again: nothing of it happens now, and nothing that is sent reaches anybody. */
  readonly replay: boolean;
  readonly runs: RunsView;
  /** Ids of the newest events applied, oldest first; bounded. */
  readonly log: readonly string[];
  readonly counts: Readonly<{ repeats: number; gaps: number; connects: number }>;

  /** Call `fn` for every event of a kind, in order, once each; returns what unsubscribes. */
  on(kind: Kind | "event", fn: (event: RuncastEvent, change: Change) => void): () => void;
  on(what: "state", fn: (state: State, detail: StateDetail) => void): () => void;
  /**
   * The runs and user messages that changed since the last call: at most once a frame, for what draws. In a hidden tab four times a second.
   * `reset`: all before is gone, draw anew.
   */
  on(what: "change", fn: (entries: Entry[], reset: boolean) => void): () => void;
  /** What was held can't be continued, and was dropped; what is still kept follows. Drop yours too. */
  on(what: "reset", fn: (reason: string) => void): () => void;
  /** Instead of the stream so far a snapshot follows; these runs are under way. After "reset". */
  on(what: "snapshot", fn: (runs: RunSummary[]) => void): () => void;
  on(what: "sent", fn: (sent: Sent) => void): () => void;
  /** Something was not accepted. With `retry`, the client deals with it by itself. */
  on(what: "error", fn: (error: ErrorInfo) => void): () => void;

  /** Send a message to an agent group; resolves when it is stored. Rejects with a `RuncastError`. */
  send(message: SendMessage): Promise<Sent>;
  /** Ask for a run to stop; resolves when that is stored. The run's end is an event. */
  cancel(runId: string, reason?: string): Promise<Sent>;
  /**
   * Answer what a run asked: true or false for an approval, a text for a question, one of the options for a choice. Resolves when the answer
   * is kept for the process that asked; what it makes of it is the event `input_resolved`. Rejects with code `request_closed` when another
   * answer came first or the run asks no more: drop the question.
   */
  answer(run: Run | string, request: InputRequest | string, value: unknown): Promise<Sent>;
  /** The same in one object; with `group`, the answer goes to that group's inbox as a message. */
  answer(answer: SendAnswer): Promise<Sent>;
  /** A new token for the same user, before the old one expires. Another user's ends it: `closed` with 4501. */
  refresh(token: string): void;
  /** End for good; unanswered sends are rejected. */
  close(): void;
}

/** Connect to an edge, and stay connected until `close`. `url` may be relative to the page: "/v1/ws". */
export function connect(url: string, options: Options): Connection;

/** What a run asks the user just now, oldest first. */
export function openRequests(run: Run): InputRequest[];

/** A development token (loopback deployments only). */
export function devToken(user: string, tenant?: string): string;

/** A new id for a send. */
export function newId(): string;

/** An id as it is written in tokens. */
export function encodeToken(id: string): string;
