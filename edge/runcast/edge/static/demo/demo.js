/**
 * The demo page: a person asks, and watches the run that answers. It keeps no state of its own: a reload shows everything again, from the
 * stream.
 *
 * `?user=` chooses the user (default: a guest of this browser), `?thread=` a conversation (default: all are shown, and "main" is asked in),
 * `?group=` the agent group that is asked (default: "demo").
 * `window.runcast` is the connection, for tests and for the curious.
 */

import { connect, devToken, newId } from "/client/runcast.js";
import { setText } from "./dom.js";
import { RunView, SaidView } from "./view.js";

/** How near to the end of the page a reader is taken along by what is new, pixels. */
const FOLLOW_PX = 120;

const query = new URLSearchParams(location.search);
const user = query.get("user") || guest();
const group = query.get("group") || "demo";
const thread = query.get("thread") || "main";
const onlyThread = query.has("thread");

/** @template {HTMLElement} T @param {string} id @returns {T} */
const byId = (id) => /** @type {T} */ (document.getElementById(id));
const timeline = byId("timeline");
const outgoing = byId("outgoing");
const stop = /** @type {HTMLButtonElement} */ (byId("stop"));
const question = /** @type {HTMLTextAreaElement} */ (byId("question"));

/** Views by the id of what they show. @type {Map<string, RunView | SaidView>} */
const views = new Map();
/** What was asked here and has not come back in the stream. @type {Map<string, SaidView>} */
const pending = new Map();
/** Runs that were asked to stop. @type {Set<string>} */
const stopping = new Set();
let scheduled = false;
let everLive = false;

const rc = connect("/v1/ws", { token: devToken(user), from: "earliest" });
/** @type {any} */ (window).runcast = rc;
setText(byId("user"), user);

// --- what comes ---

rc.on("event", schedule);
rc.on("event", ({ kind, data }, { run }) => {
  if (rc.state !== "live") return; // history is shown, not read out
  if (kind === "agent_started") announce("An agent has started.");
  else if (kind === "tool_executing") announce(data.purpose || `Running ${data.tool}.`);
  else if (kind === "agent_completed") announce(run?.messages.length ? "The answer is complete." : "The run is complete.");
  else if (kind === "input_requested") announce(`The agent asks: ${data.prompt ?? ""}`);
  else if (kind === "agent_error") announce(data.message ?? "Something failed.");
  else if (kind === "run_cancelled") announce("The run was stopped.");
  else if (kind === "run_lost") announce("The agent went away; the run is lost.");
});
rc.on("user_message", ({ id }) => {
  pending.get(id)?.element.remove();
  pending.delete(id);
});
rc.on("reset", (reason) => {
  // A page that showed nothing has lost nothing.
  if (views.size > 0) notice(`This view could not be continued (${reason}). What is still kept is shown again from its beginning.`);
  timeline.replaceChildren();
  views.clear();
  schedule();
});
rc.on("error", ({ retry, message }) => retry || notice(message, "bad"));
rc.on("state", showState);
addEventListener("offline", () => showState(rc.state));
addEventListener("online", () => showState(rc.state));
showState(rc.state);
schedule();

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
  const entries = rc.runs.timeline.filter((entry) => !onlyThread || entry.thread === thread);
  const answered = new Set(entries.map((entry) => (entry.type === "run" ? entry.replyTo : "")));
  const shown = new Set(entries.map((entry) => entry.id));
  for (const [id, view] of views) {
    if (shown.has(id)) continue;
    view.element.remove();
    views.delete(id);
  }
  let asked = "";
  entries.forEach((entry, index) => {
    let view = views.get(entry.id);
    if (entry.type === "user") {
      if (!(view instanceof SaidView)) {
        view = new SaidView(entry, "said");
        views.set(entry.id, view);
        timeline.append(view.element);
      }
      asked = entry.text;
      view.sync(index === entries.length - 1 && !answered.has(entry.id));
    } else {
      if (!(view instanceof RunView) || view.attempt !== entry.attempt) {
        const made = new RunView(entry, (request, value) => {
          question.focus(); // what was pressed goes away
          // Closed: another device was faster, or the run asks no more. The stream shows it.
          rc.answer(entry, request, value).catch((error) => error.code === "request_closed" || refused(error));
        });
        if (view) view.element.replaceWith(made.element);
        else timeline.append(made.element);
        view = made;
        views.set(entry.id, view);
      }
      view.sync(entry, asked);
    }
  });
  byId("welcome").hidden = entries.length > 0 || pending.size > 0;
  showStop();
  if (follow && (entries.length > 0 || pending.size > 0)) page.scrollTop = page.scrollHeight;
}

function openRun() {
  return rc.runs.open.findLast((run) => !onlyThread || run.thread === thread);
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
  everLive ||= state === "live";
  const words = {
    connecting: everLive ? "Reconnecting, nothing is lost" : "Connecting",
    resuming: everLive ? "Catching up, nothing is lost" : "Catching up",
    live: "Live",
    behind: "Behind, catching up",
    offline: navigator.onLine ? "Reconnecting, nothing is lost" : "No network; nothing is lost",
    closed: `Disconnected: ${detail.reason || "for good"}. Reload to try again.`,
  };
  byId("connection").dataset.state = state === "connecting" && everLive ? "reconnecting" : state;
  setText(byId("connection-text"), words[state]);
}

// --- what goes ---

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = question.value.trim();
  if (text === "") return;
  question.value = "";
  ask(text);
});
question.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  question.form?.requestSubmit();
});
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

/** @param {string} text */
function ask(text) {
  const id = newId();
  const view = new SaidView({ id, text, at: Date.now() }, "sending");
  pending.set(id, view);
  outgoing.append(view.element);
  notice("");
  schedule();
  byId("welcome").hidden = true;
  document.documentElement.scrollTop = document.documentElement.scrollHeight;
  question.focus();
  rc.send({ id, group, thread, text }).catch((error) => {
    const why = error.definite ? "Not sent" : "Perhaps not sent";
    view.failed(`${why}: ${error.message}`, () => {
      view.element.remove();
      pending.delete(id);
      ask(text);
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

/** @param {string} text */
function announce(text) {
  setText(byId("announcement"), text);
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
