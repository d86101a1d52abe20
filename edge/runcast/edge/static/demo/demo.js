/**
 * The demo page: a person asks, and watches the run that answers. It keeps no state of its own: a reload shows everything again, from the
 * stream.
 *
 * `?user=` chooses the user (default: a guest of this browser), `?thread=` the conversation (default: "main", or the newest when nothing was
 * said there), `?group=` the agent group that is asked (default: "demo", whose examples are shown).
 * `window.runcast` is the connection, for tests and for the curious.
 */

import { connect, devToken, newId } from "/client/runcast.js";
import { Announcer } from "./announcer.js";
import { Clock } from "./clock.js";
import { setText } from "./dom.js";
import { Notes } from "./notes.js";
import { ThreadList } from "./threadlist.js";
import { MAIN, threadOf, threadsOf } from "./threads.js";
import { Timeline } from "./timeline.js";
import { SaidView } from "./view.js";
import { closedWords, stateWords } from "./words.js";

/** How near to the end of the page a reader is taken along by what is new, pixels. */
const FOLLOW_PX = 120;
/** How long the connection is away before that is read out, milliseconds: most are back by then. */
const AWAY_SAID_MS = 3_000;
/** How often it is said how long a tool has been running, milliseconds. */
const TICK_MS = 1_000;

/** The group of the demo agent, who can answer the page's examples; others may know nothing of them. */
const DEMO = "demo";

const query = new URLSearchParams(location.search);
const user = query.get("user") || guest();
const group = query.get("group") || DEMO;

/** @template {HTMLElement} T @param {string} id @returns {T} */
const byId = (id) => /** @type {T} */ (document.getElementById(id));
const outgoing = byId("outgoing");
const stop = /** @type {HTMLButtonElement} */ (byId("stop"));
const question = /** @type {HTMLTextAreaElement} */ (byId("question"));

/** The conversation that is shown. */
let thread = query.get("thread") || MAIN;
/** Whether somebody chose it. */
let chosen = query.has("thread");
/** Conversations in which something was said while another was looked at. @type {Set<string>} */
const unread = new Set();
/** What was asked here and has not come back in the stream. @type {Map<string, {view: SaidView, thread: string}>} */
const pending = new Map();
/** Runs that were asked to stop. @type {Set<string>} */
const stopping = new Set();
let scheduled = false;
let everLive = false;
/** @type {ReturnType<typeof setInterval> | undefined} */
let ticking;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let awayTimer;
let awaySaid = false;

const announcer = new Announcer(byId("announcement"));
const notes = new Notes();
const clock = new Clock();
const timeline = new Timeline(byId("timeline"), notes, {
  answer: (run, request, value) => {
    question.focus(); // what was pressed goes away
    return rc.answer(run, request, value).then(
      () => true,
      (error) => {
        // Closed: another device was faster, or the run asks no more. The stream shows it.
        if (error.code !== "request_closed") refused(error);
        return error.code === "request_closed";
      },
    );
  },
  again: ({ text, group: asked }) => ask(text, asked || group),
});
const threadList = new ThreadList(byId("thread-list"), addressOf, choose);

const rc = connect("/v1/ws", { token: devToken(user), from: "earliest" });
/** @type {any} */ (window).runcast = rc;
setText(byId("user"), user);

// --- what comes ---

rc.on("event", (event, { run }) => {
  notes.take(event, run, (id) => rc.runs.get(id));
  if (rc.replay) settle();
  schedule();
  if (rc.state !== "live") return; // history is shown, not read out
  clock.hear(event, Date.now());
  if (threadOf(event) === thread) tell(event, run);
  else if (!["agent_thinking", "tool_executing", "tool_completed", "agent_response"].includes(event.kind)) unread.add(threadOf(event));
});
rc.on("user_message", ({ id }) => {
  pending.get(id)?.view.element.remove();
  pending.delete(id);
});
rc.on("reset", (reason) => {
  // A page that showed nothing has lost nothing.
  if (everLive) notice(`This view could not be continued (${reason}). What is still kept is shown again from its beginning.`);
  timeline.clear();
  notes.reset();
  schedule();
});
rc.on("error", ({ retry, message }) => retry || rc.state === "closed" || notice(message, "bad"));
rc.on("state", showState);
document.addEventListener("visibilitychange", tick);
addEventListener("offline", () => showState(rc.state));
addEventListener("online", () => showState(rc.state));
showState(rc.state);
schedule();

/** Say what a person would see happen. @param {import("/client/runcast.js").RuncastEvent} event @param {import("/client/runcast.js").Run | null} run */
function tell({ kind, data }, run) {
  if (kind === "input_requested") announcer.say(`The agent asks: ${data.prompt ?? ""}`);
  else if (kind === "agent_error") announcer.say(`Error: ${data.message ?? "something failed."}`);
  else if (kind === "tool_executing") announcer.hint(data.purpose || `Running ${data.tool}.`);
  else if (run === null || run.parentRunId !== "") return; // of sub-agents, what they ask and what fails is enough
  else if (kind === "agent_started") announcer.say("An agent has started.");
  else if (kind === "agent_completed") announcer.say(run.messages.length > 0 ? "The answer is complete." : "The run is complete.");
  else if (kind === "run_cancelled") announcer.say("The run was stopped.");
  else if (kind === "run_lost") announcer.say("The agent went away; the run is lost.");
}

/** Show the newest state once for all events of a moment. */
function schedule() {
  if (scheduled) return;
  scheduled = true;
  // A hidden tab gets no animation frames, but is to be up to date when it is looked at.
  if (document.hidden) setTimeout(show);
  else requestAnimationFrame(show);
}

function show() {
  scheduled = false;
  const page = document.documentElement;
  const follow = page.scrollHeight - page.clientHeight - page.scrollTop < FOLLOW_PX;
  for (const each of [notes, clock]) each.prune((id) => rc.runs.get(id) !== undefined);
  const entries = rc.runs.timeline.filter((entry) => threadOf(entry) === thread);
  timeline.sync(entries);
  tick();
  const threads = threadsOf(rc.runs.timeline, thread);
  threadList.sync(threads, thread, unread);
  const title = threads.find(({ id }) => id === thread)?.title ?? "";
  setText(byId("topic"), title);
  document.title = (rc.replay ? "Replay: " : "") + (entries.length > 0 ? `${title} - Runcast` : "Runcast demo");
  const empty = entries.length === 0 && outgoing.childElementCount === 0;
  byId("welcome").hidden = !empty;
  showStop();
  if (follow && !empty) page.scrollTop = page.scrollHeight;
}

/** Says how long tools have been running: while one is, and somebody can see it. */
function tick() {
  const running = rc.runs.open.filter((run) => threadOf(run) === thread && run.tools.some(({ status }) => status === "running"));
  // Of a replay nothing goes on: only what was expected then is told.
  timeline.tick(running, (runId, startedAt) => (rc.replay ? null : clock.elapsed(runId, startedAt, Date.now())));
  if (running.length > 0 && !rc.replay && !document.hidden) ticking ??= setInterval(tick, TICK_MS);
  else ticking = void clearInterval(ticking);
}

/** The newest run that nobody started but a person: with it, all below it ends. */
function openRun() {
  return rc.runs.open.findLast((run) => threadOf(run) === thread && rc.runs.get(run.parentRunId) === undefined);
}

function showStop() {
  const run = openRun();
  stop.hidden = run === undefined;
  if (run === undefined) return;
  stop.dataset.runId = run.id;
  stop.disabled = stopping.has(run.id);
  setText(byId("stop-text"), stop.disabled ? "Stopping" : "Stop");
}

/** @param {import("/client/runcast.js").State} state @param {import("/client/runcast.js").StateDetail} [detail] */
function showState(state, detail = {}) {
  if (state === "live" && !everLive) settle();
  everLive ||= state === "live";
  const words = stateWords(state, detail, { before: everLive, online: navigator.onLine, replay: rc.replay });
  document.documentElement.toggleAttribute("data-replay", rc.replay);
  byId("connection").dataset.state = state === "connecting" && everLive ? "reconnecting" : state;
  setText(byId("connection-text"), words);
  if (state === "closed") showClosed(detail);
  // Only an absence that lasts is read out, and only after one the return.
  if (state === "live") {
    clearTimeout(awayTimer);
    awayTimer = undefined;
    if (awaySaid) announcer.say("Connected again.");
    awaySaid = false;
  } else if (everLive && state !== "closed" && awayTimer === undefined) {
    awayTimer = setTimeout(() => {
      awaySaid = true;
      announcer.say(byId("connection-text").textContent ?? "");
    }, AWAY_SAID_MS);
  }
}

/** @param {import("/client/runcast.js").StateDetail} detail */
function showClosed(detail) {
  clearTimeout(awayTimer);
  const { heading, advice, said } = closedWords(detail);
  setText(byId("closed-heading"), heading);
  setText(byId("closed-advice"), advice);
  setText(byId("closed-said"), said && `The server says: ${said}`);
  byId("closed").hidden = false;
  byId("examples").hidden = true; // nobody would be asked
  /** @type {HTMLButtonElement} */ (byId("send")).disabled = true;
  notice("");
}

/** Caught up for the first time, or a replay begins: who chose no conversation is shown one in which something was said. */
function settle() {
  if (chosen || rc.runs.timeline.length === 0 || rc.runs.timeline.some((entry) => threadOf(entry) === MAIN)) return;
  chosen = rc.replay; // a replay is live before it begins
  showThread(threadsOf(rc.runs.timeline, MAIN).find(({ id }) => id !== MAIN)?.id ?? MAIN);
}

// --- conversations ---

/** @param {string} id */
function addressOf(id) {
  const address = new URLSearchParams(location.search);
  address.set("thread", id);
  return `?${address}`;
}

/** @param {string} id */
function choose(id) {
  chosen = true;
  if (id !== thread) history.pushState(null, "", addressOf(id));
  showThread(id);
  byId("threads").hidePopover();
  question.focus();
}

/** @param {string} id */
function showThread(id) {
  unread.delete(id);
  if (id !== thread) {
    thread = id;
    timeline.clear();
    outgoing.replaceChildren(...[...pending.values()].filter((each) => each.thread === id).map(({ view }) => view.element));
    notice("");
  }
  show();
  document.documentElement.scrollTop = document.documentElement.scrollHeight;
}

byId("new-thread").addEventListener("click", () => choose(newId()));
addEventListener("popstate", () => showThread(new URLSearchParams(location.search).get("thread") || MAIN));

// --- what goes ---

byId("reload").addEventListener("click", () => location.reload());
byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = question.value.trim();
  if (text === "" || rc.state === "closed") return;
  question.value = "";
  ask(text);
});
question.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  question.form?.requestSubmit();
});
byId("demo-agent").hidden = group !== DEMO;
byId("examples").addEventListener("click", ({ target }) => {
  if (target instanceof HTMLButtonElement) ask(target.textContent ?? "");
});
stop.addEventListener("click", () => {
  const run = openRun();
  if (run === undefined) return;
  stopping.add(run.id);
  showStop();
  question.focus();
  rc.cancel(run.id, "stopped by the user").catch((error) => {
    stopping.delete(run.id);
    showStop();
    refused(error);
  });
});

/** @param {string} text @param {string} [of] the agent group that is asked */
function ask(text, of = group) {
  const id = newId();
  const view = new SaidView({ id, text, at: Date.now() }, "sending");
  pending.set(id, { view, thread });
  outgoing.append(view.element);
  notice("");
  schedule();
  byId("welcome").hidden = true;
  document.documentElement.scrollTop = document.documentElement.scrollHeight;
  question.focus();
  rc.send({ id, group: of, thread, text }).catch((error) => {
    const why = error.definite ? "Not sent" : "Perhaps not sent";
    view.failed(`${why}: ${error.message}`, () => {
      view.element.remove();
      pending.delete(id);
      ask(text, of);
    });
  });
}

/** @param {{message: string}} error */
function refused({ message }) {
  notice(message, "bad");
}

/** @param {string} text "" hides it @param {string} [tone] */
function notice(text, tone = "") {
  const box = byId("notice");
  box.hidden = text === "";
  box.dataset.tone = tone;
  setText(box, text);
}

/** This browser's guest: the same in all its tabs. Without storage, a new one for each page. */
function guest() {
  const key = "runcast.demo.guest";
  try {
    const kept = localStorage.getItem(key);
    if (kept) return kept;
    const made = `guest-${newId().slice(0, 8)}`;
    localStorage.setItem(key, made);
    return made;
  } catch {
    return `guest-${newId().slice(0, 8)}`;
  }
}
