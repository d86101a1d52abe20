// The page of one user: takes what the server pushes, and shows it. What a run looks like over time is computed by gantt.js.
import { at, cells, element, hint, line, makeTiles, rowsOf, text } from "./dom.js";
import { bytes, count, duration } from "./figures.js";
import { ask, Refused } from "../session.js";
import { follow } from "./following.js";
import { runCard } from "./run.js";
import { address, ago, many, moment, offer, seen, state, tenant, user } from "./seen.js";

const STALE_MS = 16_000; // the server speaks every two seconds; a look at a long log takes ten
const KEPT = "runcast-user-silence-s";

let newest = null;

// --- tiles ---

const TILES = [
  ["presence", "Presence", (now) => (now.connected ? many(now.connected, "device", "devices") : "away")],
  ["edges", "On", (now) => now.edges.join(", ") || "–"],
  ["running", "Runs open", (now) => count(now.runs.flat().filter((row) => row.end === null).length)],
  ["worst", "Furthest behind", (now) => worst(now)],
  ["waiting", "Messages waiting", (now) => count(now.waiting.length) + (now.waiting_more ? "+" : "")],
  ["events", "Events in the log", (now) => count(now.events)],
];

/** Of the connected devices; those that are away are behind because they are away. */
function worst(now) {
  const here = now.devices.filter((each) => each.edge);
  if (!here.length) return "–";
  return many(Math.max(...here.map((each) => each.events)), "event", "events");
}

// --- runs ---

const cards = new Set();
const showRuns = rowsOf(at("runs"), () => {
  const card = runCard();
  cards.add(card);
  return card;
});
const redraw = () => {
  for (const card of cards) card.element.isConnected ? card.draw() : cards.delete(card);
};

// --- the rest ---

function deviceRow() {
  const name = element("th", { scope: "row" });
  const { made, tell } = cells(["", "", "", "", "id"]);
  const here = made[0].appendChild(element("span", { className: "state" }));
  const how = made[1].appendChild(element("span", { className: "state" }));
  const words = { behind: "behind", "up to date": "all of the log", nothing: "nothing yet", foreign: "a place of other storage" };
  return {
    element: element("tr", {}, name, ...made),
    update(each) {
      text(name, each.device);
      state(here, each.edge ? `on ${each.edge}` : "away", each.edge ? "online" : "offline");
      state(how, words[each.state] ?? each.state, each.state);
      tell(2, each.state === "behind" ? `${many(each.events, "event", "events")}, since ${ago(each.since_ms)}` : "–");
      tell(3, each.acked_ms ? `${moment(each.acked_ms)} (${ago(each.acked_ms)})` : "never");
      tell(4, each.position || "–");
    },
  };
}

function errorLine() {
  const made = line();
  return {
    element: made.element,
    update(each) {
      text(made.head, moment(each.at));
      state(made.how, each.kind === "tool" ? "tool failed" : each.kind, ["fatal", "lost"].includes(each.kind) ? "failed" : "degraded");
      text(made.rest, `${each.agent || "run"}: ${each.text || "no text"} (run ${each.run}${each.attempt > 1 ? `, attempt ${each.attempt}` : ""})`);
    },
  };
}

function messageLine() {
  const made = line();
  return {
    element: made.element,
    update({ message, aside }) {
      text(made.head, message.group || "unknown group");
      state(made.how, aside ? "put aside" : `waits ${duration(Math.max(seen.nowMs - message.since_ms, 0) / 1000)}`, aside ? "failed" : "waiting");
      const words = [message.kind || "not readable", message.device && `from ${message.device}`, bytes(message.bytes), `sent ${moment(message.since_ms)}`, message.tries && `${message.tries} tries`, message.reason];
      text(made.rest, words.filter(Boolean).join(" · "));
    },
  };
}

const showDevices = rowsOf(at("devices").tBodies[0], deviceRow);
const showErrors = rowsOf(at("errors"), errorLine);
const showWaiting = rowsOf(at("waiting"), messageLine);

function show(now) {
  at("found").hidden = !now.found;
  at("nobody").hidden = now.found;
  text(at("nobody-name"), `${now.user} of ${now.tenant}`);
  if (!now.found) return;
  text(at("who"), `${now.user} of ${now.tenant}`);
  for (const [id, , read] of TILES) {
    const value = at(`tile-${id}`).lastChild;
    text(value, read(now));
    value.title = value.textContent;
  }
  const first = now.runs.length ? Math.min(...now.runs.flat().map((row) => row.begin)) : 0;
  const reading = [
    !now.caught_up && "The log is long: it is still being read, and what is newest comes later.",
    now.lost && "Some of it left the log while it was looked at.",
    now.unreadable && `${many(now.unreadable, "batch", "batches")} could not be opened: ${now.unopened.at(-1)?.text ?? ""}`,
    now.void && `${many(now.void, "event", "events")} of attempts that were superseded or lost came late, and nobody is shown them.`,
  ];
  hint("reading", reading.filter(Boolean).join(" "));
  text(at("runs-count"), now.runs.length ? `${now.runs.length}, the newest first, since ${moment(first)}` : "none in what the log keeps");
  offer(at("play-all"), at("export-all"), "");
  at("play-all").hidden = at("export-all").hidden = !now.batches;
  showRuns(now.runs.map((rows) => [rows[0].run, rows]));
  hint("runs-hint", now.dropped ? `${now.dropped} older runs and attempts are not shown: 30 runs and 200 attempts are, at most.` : "");
  showDevices(now.devices.map((each) => [each.device, each]));
  text(at("devices-count"), [now.connected && `${now.connected} connected`, now.devices_more && `${now.devices_more} more are not listed`].filter(Boolean).join(", "));
  at("no-devices").hidden = now.devices.length > 0;
  at("devices-wide").hidden = !now.devices.length;
  showErrors(now.errors.slice(0, 10).map((each) => [`${each.run} ${each.attempt} ${each.at} ${each.kind} ${each.text}`, each]));
  at("no-errors").hidden = now.errors.length > 0;
  const messages = [...now.parked.map((message) => ({ message, aside: true })), ...now.waiting.map((message) => ({ message, aside: false }))];
  showWaiting(messages.map((each, index) => [`${index} ${each.aside} ${each.message.since_ms}`, each]));
  at("no-waiting").hidden = messages.length > 0;
  text(at("waiting-count"), now.waiting_more || now.parked_more ? "there are more than are listed" : "");
  const rules = now.rules ? `${many(now.rules, "redaction rule holds", "redaction rules hold")} for them` : "no redaction rules are set (RUNCAST_REDACTION_FILE)";
  text(at("privacy"), `Of what users and agents said only titles, tools' names and the texts of errors are shown; ${rules}. A replay and an export show all that the rules leave.`);
}

// --- what one can choose ---

function chooseSilence(usual) {
  let kept = null;
  try {
    kept = Number(localStorage.getItem(KEPT));
  } catch {
    // storage is denied: the default counts
  }
  seen.silenceS = kept >= 1 ? kept : usual;
  at("silence").value = seen.silenceS;
}

at("silence").addEventListener("input", () => {
  const value = Number(at("silence").value);
  if (!(value >= 1)) return;
  seen.silenceS = value;
  try {
    localStorage.setItem(KEPT, String(value));
  } catch {
    // it counts until the page is closed
  }
  if (newest) show(newest);
});
at("speed").addEventListener("change", () => newest && show(newest));

/** What is written counts at once: who goes on to a link must not play something else. What is wrong with it is asked when it is written. */
function writePlaces() {
  const written = ["from", "to"].map((id) => [id, at(id).value.trim()]).filter(([, value]) => value);
  seen.places = Object.fromEntries(written);
  if (written.length) seen.places.zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  tellPlaces("", PLACES);
}

async function checkPlaces() {
  const { places } = seen;
  if (!places?.zone) return;
  const said = (place) => (place.ms ? moment(place.ms) : place.position);
  try {
    const { from, to } = await ask(`/replay/places?${new URLSearchParams(places)}`);
    if (seen.places !== places) return; // it was written anew meanwhile
    tellPlaces("", `Plays and exports what was stored${said(from) && ` from ${said(from)}`}${said(to) && ` to ${said(to)}`}.`);
  } catch (error) {
    if (seen.places !== places || !(error instanceof Refused) || error.status !== 400) return;
    seen.places = null;
    tellPlaces(error.message, PLACES);
  }
}

function tellPlaces(problem, words) {
  hint("places-problem", problem);
  text(at("places"), words);
  for (const id of ["from", "to"]) at(id).setAttribute("aria-invalid", String(problem.startsWith(`${id} `)));
  if (newest) show(newest);
}

const PLACES = at("places").textContent;
for (const id of ["from", "to"]) {
  at(id).addEventListener("input", writePlaces);
  at(id).addEventListener("change", checkPlaces);
}
at("choices").addEventListener("submit", (event) => event.preventDefault());
addEventListener("resize", () => requestAnimationFrame(redraw));

makeTiles(TILES);
at("tenant").value = tenant || "default";
at("user").value = user;
if (tenant && user) document.title = `${user} - Runcast`;
else at("user").focus();
follow(tenant && user ? address("/dashboard/user/events", "") : "", STALE_MS, {
  user(told) {
    newest = told;
    seen.nowMs = told.at_ms;
    if (seen.silenceS === null) chooseSilence(told.silence_s);
    show(newest);
    return told.problem ? `This is not of just now: ${told.problem}` : "";
  },
  same(told) {
    seen.nowMs = told.at_ms;
    show(newest);
  },
});
