/**
 * Events to what a person sees: runs with their tools, messages, errors and progress, and what users said, in the order of the stream.
 *
 * Rules: `apply` is synchronous and deterministic; the same events in the same order give the same state on every device. It is idempotent:
 * an event that was applied already changes nothing, nor does a merged one whose range (`first_seq` to `seq`) was. A higher attempt replaces
 * what a lower one showed, and drops what comes of it later. Nothing follows a run's end. A reader may begin in the middle of a run, and shows what it can.
 * Invariants: `timeline` holds every run once, at the place of its first event; `run.items` is in the order in which the items began.
 * Bound: `entriesMax` entries; past it the oldest go.
 * Imports nothing.
 *
 * PROTOCOL.md: "Events".
 *
 * @typedef {import("./runcast.d.ts").RuncastEvent} RuncastEvent
 * @typedef {import("./runcast.d.ts").Run} Run
 * @typedef {import("./runcast.d.ts").Tool} Tool
 * @typedef {import("./runcast.d.ts").Message} Message
 * @typedef {import("./runcast.d.ts").InputRequest} InputRequest
 * @typedef {import("./runcast.d.ts").Entry} Entry
 * @typedef {import("./runcast.d.ts").Change} Change
 */

/** How each kind changes its run; returns the item that it touched, if any. @type {Record<string, (run: Run, event: RuncastEvent) => any>} */
const STEPS = {
  agent_started(run, { data, time_unix_ms }) {
    run.title = data.title ?? "";
    run.replyTo = data.reply_to ?? "";
    run.input = data.input;
    run.startedAt = time_unix_ms;
  },

  agent_thinking(run, { data }) {
    run.thinking = {
      text: data.text ?? "",
      progress: data.progress ?? null,
      step: data.step ?? 0,
      steps: data.steps ?? 0,
      urgency: data.urgency ?? "normal",
      remainingMs: data.remaining_ms ?? null,
    };
  },

  tool_executing(run, { data, time_unix_ms }) {
    const tool = toolOf(run, data);
    tool.args = data.args;
    tool.purpose = data.purpose ?? "";
    tool.estimateMs = data.estimate_ms ?? null;
    tool.startedAt = time_unix_ms;
    return tool;
  },

  tool_completed(run, { data }) {
    const tool = toolOf(run, data);
    tool.status = data.status ?? "ok";
    tool.result = data.result;
    tool.error = data.error ?? "";
    tool.durationMs = data.duration_ms ?? 0;
    return tool;
  },

  agent_response(run, { data }) {
    const id = data.message_id ?? "";
    let message = run.messages.findLast((known) => known.id === id);
    if (message === undefined) {
      message = { type: "message", id, text: "", final: false };
      run.messages.push(message);
      run.items.push(message);
    }
    message.text = data.mode === "delta" ? message.text + (data.text ?? "") : (data.text ?? "");
    message.final = data.final === true;
    return message;
  },

  agent_completed(run, event) {
    run.summary = event.data.summary ?? "";
    run.result = event.data.result;
    end(run, "completed", event);
  },

  agent_error(run, event) {
    const { severity, category, message, suggestions, retrying, retry_after_ms } = event.data;
    const error = {
      type: /** @type {const} */ ("error"),
      severity: severity ?? "",
      category: category ?? "",
      message: message ?? "",
      suggestions: suggestions ?? [],
      retrying: retrying === true,
      retryAfterMs: retry_after_ms ?? null,
    };
    run.errors.push(error);
    run.items.push(error);
    if (severity === "fatal") end(run, "failed", event);
    return error;
  },

  run_cancelled(run, event) {
    run.reason = event.data.reason ?? "";
    end(run, "cancelled", event);
  },

  run_lost(run, event) {
    run.reason = event.data.reason ?? "";
    end(run, "lost", event);
  },

  input_requested(run, { data }) {
    const input = {
      type: /** @type {const} */ ("input"),
      requestId: data.request_id ?? "",
      inputType: data.type ?? "",
      prompt: data.prompt ?? "",
      options: data.options ?? [],
      default: data.default,
      expiresAt: data.expires_unix_ms ?? null,
      status: "open",
      value: undefined,
      device: "",
    };
    run.requests.push(input);
    run.items.push(input);
    run.status = "waiting";
    return input;
  },

  input_resolved(run, { data }) {
    const request = openRequests(run).find((known) => known.requestId === (data.request_id ?? ""));
    if (request !== undefined) {
      request.status = data.outcome ?? "";
      request.value = data.value;
      request.device = data.device ?? "";
    }
    if (openRequests(run).length > 0) run.status = "waiting";
    return request;
  },

  custom(run, { data }) {
    const custom = { type: /** @type {const} */ ("custom"), name: data.name ?? "", data: data.data };
    run.items.push(custom);
    return custom;
  },
};

/** The open tool call that `data` names, made if there is none: an id may be used again after its call's end. @param {Run} run @param {any} data @returns {Tool} */
function toolOf(run, data) {
  const callId = data.tool_call_id ?? "";
  let tool = run.tools.findLast((known) => known.callId === callId && known.status === "running");
  if (tool === undefined) {
    tool = {
      type: "tool",
      callId,
      tool: data.tool ?? "",
      purpose: "",
      args: undefined,
      status: "running",
      result: undefined,
      error: "",
      estimateMs: null,
      durationMs: null,
      startedAt: null,
    };
    run.tools.push(tool);
    run.items.push(tool);
  }
  return tool;
}

/** @param {Run} run @param {import("./runcast.d.ts").RunStatus} status @param {RuncastEvent} event */
function end(run, status, event) {
  run.status = status;
  run.endedAt = event.time_unix_ms;
  run.thinking = null;
  // Only a run whose agent vanished ends with tools open; nobody knows what became of them.
  for (const tool of run.tools) if (tool.status === "running") tool.status = "lost";
  for (const request of openRequests(run)) request.status = "withdrawn";
}

/** @param {RuncastEvent} event @returns {Run} */
function newRun(event) {
  return {
    type: "run",
    id: event.run_id,
    attempt: event.attempt,
    seq: 0,
    agent: event.agent,
    thread: event.thread,
    parentRunId: event.parent_run_id,
    title: "",
    replyTo: "",
    input: undefined,
    status: "running",
    startedAt: null,
    endedAt: null,
    thinking: null,
    items: [],
    tools: [],
    messages: [],
    errors: [],
    requests: [],
    summary: "",
    result: undefined,
    reason: "",
  };
}

/** Whether nothing more is to come of `run`. @param {Run} run */
export function ended(run) {
  return run.status !== "running" && run.status !== "waiting";
}

/** What `run` asks the user just now, oldest first. @param {Run} run @returns {InputRequest[]} */
export function openRequests(run) {
  return run.requests.filter((request) => request.status === "open");
}

/** An event with all its fields: the wire leaves out those that are empty. @param {any} event @returns {RuncastEvent} */
export function complete(event) {
  return {
    run_id: "",
    attempt: 0,
    seq: 0,
    first_seq: 0,
    time_unix_ms: 0,
    agent: "",
    thread: "",
    parent_run_id: "",
    traceparent: "",
    data: {},
    ...event,
  };
}

export class Runs {
  #entriesMax;
  /** @type {Map<string, Run>} */
  #runs = new Map();
  /** Runs by the run that started them, in the order of the stream. @type {Map<string, Set<Run>>} */
  #below = new Map();
  /** What is above a run, as far as that leads up. @type {Map<string, string>} */
  #above = new Map();
  /** @type {Map<string, Entry>} */
  #said = new Map();
  /** Runs and user messages, in the order of the stream. @type {Entry[]} */
  timeline = [];
  /** How many entries were dropped because there were too many. */
  forgotten = 0;

  /** @param {number} entriesMax how many runs and user messages are kept */
  constructor(entriesMax) {
    this.#entriesMax = entriesMax;
  }

  /** @param {string} runId @returns {Run | undefined} */
  get(runId) {
    return this.#runs.get(runId);
  }

  /** Runs that have not ended, oldest first. @returns {Run[]} */
  get open() {
    return [...this.#runs.values()].filter((run) => !ended(run));
  }

  /** Runs that no run known here started, in the order of the stream. @returns {Run[]} */
  get roots() {
    return [...this.#runs.values()].filter((run) => !this.#runs.has(this.#above.get(run.id) ?? ""));
  }

  /** Runs that this one started, in the order of the stream. @param {string} runId @returns {Run[]} */
  children(runId) {
    return [...(this.#below.get(runId) ?? [])];
  }

  /** Drop everything: the stream begins anew. */
  reset() {
    this.#runs.clear();
    this.#below.clear();
    this.#above.clear();
    this.#said.clear();
    this.timeline.length = 0;
    this.forgotten = 0;
  }

  /**
   * Take the next event of the stream.
   * @param {RuncastEvent} event complete, see `complete`
   * @returns {Change | null} what changed; null when the event is a repeat, of a superseded attempt, or after the run's end
   */
  apply(event) {
    if (event.kind === "user_message") return this.#say(event);
    if (event.run_id === "") return { event, run: null, item: null };
    let run = this.#runs.get(event.run_id);
    if (run === undefined) {
      run = newRun(event);
      this.#runs.set(run.id, run);
      this.#link(run);
      this.#append(run);
    } else if (event.attempt > run.attempt) {
      Object.assign(run, newRun(event));
    } else if (event.attempt < run.attempt || ended(run) || (event.seq !== 0 && event.seq <= run.seq)) {
      return null;
    }
    // Above, not one above: an edge may merge events for a device that is behind. A merged one covers first_seq to seq; ranges are had whole
    // or not at all, because the positions of batches part them.
    run.seq = Math.max(run.seq, event.seq);
    if (run.status === "waiting") run.status = "running";
    return { event, run, item: STEPS[event.kind]?.(run, event) ?? null };
  }

  /** @param {RuncastEvent} event @returns {Change | null} */
  #say(event) {
    if (this.#said.has(event.id)) return null;
    const said = {
      type: /** @type {const} */ ("user"),
      id: event.id,
      text: event.data.text ?? "",
      data: event.data.data,
      device: event.data.device ?? "",
      group: event.data.group ?? "",
      thread: event.thread,
      at: event.time_unix_ms,
    };
    this.#said.set(said.id, said);
    this.#append(said);
    return { event, run: null, item: said };
  }

  /** Put a run below the one that started it; never below itself, whatever an agent says: a page walks down this tree. @param {Run} run */
  #link(run) {
    const parent = run.parentRunId;
    for (let above = parent; above !== ""; above = this.#above.get(above) ?? "") if (above === run.id) return;
    if (parent === "") return;
    this.#above.set(run.id, parent);
    this.#below.set(parent, (this.#below.get(parent) ?? new Set()).add(run));
  }

  /** @param {Run} run */
  #unlink(run) {
    const parent = this.#above.get(run.id) ?? "";
    const siblings = this.#below.get(parent);
    siblings?.delete(run);
    if (siblings?.size === 0) this.#below.delete(parent);
    this.#above.delete(run.id);
  }

  /** @param {Entry} entry */
  #append(entry) {
    this.timeline.push(entry);
    if (this.timeline.length <= this.#entriesMax) return;
    const oldest = /** @type {Entry} */ (this.timeline.shift());
    (oldest.type === "run" ? this.#runs : this.#said).delete(oldest.id);
    if (oldest.type === "run") this.#unlink(oldest);
    this.forgotten += 1;
  }
}
