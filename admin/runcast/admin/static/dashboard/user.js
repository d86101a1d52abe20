// The page of one user: takes what the server pushes, and shows it. What a run looks like over time is computed by gantt.js.
import { ask, Refused } from "/static/session.js";
import { svg } from "./charts.js";
import { at, cells, element, rowsOf, text } from "./dom.js";
import { bytes, count, duration } from "./figures.js";
import { BAR, fitted, length, listed, pieces, spanOf, STATUS, ticks, told } from "./gantt.js";

const STALE_MS = 16_000; // the server speaks every two seconds; a look at a long log takes ten
const TOUCH_MS = 60_000;
const LANE = 16;
const LISTED_MAX = 300;
const KEPT = "runcast-user-silence-s";

const query = new URLSearchParams(location.search);
const tenant = query.get("tenant") ?? "";
const user = query.get("user") ?? "";
let newest = null;
let nowMs = 0;
let heardAt = 0;
let over = false;
let silenceS = null;

// --- words ---

const clock = (ms) => new Date(ms).toLocaleTimeString();
const today = () => new Date(nowMs).toDateString();
/** A moment, with its day if that is another one than today. */
const moment = (ms) => (new Date(ms).toDateString() === today() ? clock(ms) : new Date(ms).toLocaleString());
const ago = (ms) => `${duration(Math.max(nowMs - ms, 0) / 1000)} ago`;
const many = (number, one, more) => `${number.toLocaleString("en")} ${number === 1 ? one : more}`;
const leastMs = () => (silenceS ?? 5) * 1000;

function state(node, word, name) {
  text(node, word);
  node.dataset.state = name;
}

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

function makeTiles() {
  for (const [id, name] of TILES) {
    at("tiles").append(element("div", { className: "tile", id: `tile-${id}` }, element("dt", { textContent: name }), element("dd", { textContent: "–" })));
  }
}

// --- runs ---

const address = (path, run, more = {}) => `${path}?${new URLSearchParams({ tenant, user, ...(run ? { run } : {}), ...more })}`;
const playAddress = (run) => address("/replay/open", run, { speed: at("speed").value });

function runCard() {
  const title = element("h3");
  const what = element("span");
  const how = element("span", { className: "state" });
  title.append(how, " ", what);
  const facts = element("p", { className: "facts" });
  const play = element("a", { className: "act play", target: "_blank", rel: "noopener", textContent: "Play" });
  const take = element("a", { className: "act export", textContent: "Export" });
  const acts = element("div", { className: "acts" }, play, take);
  const chart = element("div", { className: "rows" });
  const axis = element("p");
  const ticksBox = element("div", { className: "ticks" }, axis);
  axis.setAttribute("aria-hidden", "true");
  const body = element("tbody");
  const head = element("tr");
  for (const name of ["After", "Who", "What", "Took", "How it ended", "Note"]) head.append(element("th", { scope: "col", textContent: name }));
  const wide = element("div", { className: "wide", tabIndex: 0 }, element("table", {}, element("thead", {}, head), body));
  wide.setAttribute("role", "region");
  const details = element("details", {}, element("summary", { textContent: "As a table" }), wide);
  const card = element("article", { className: "run" }, element("header", {}, title, acts, facts), chart, ticksBox, details);
  let rows = [];

  function fill() {
    if (!details.open) return;
    const all = rows.flatMap((row) => listed(row, nowMs, leastMs()).map((each) => ({ ...each, who: row.agent || row.run }))).sort((one, other) => one.at - other.at);
    const shown = all.slice(-LISTED_MAX);
    body.replaceChildren(
      ...shown.map((each) =>
        element(
          "tr",
          {},
          element("td", { className: "number", textContent: length(each.at - rows[0].begin) }),
          ...[each.who, each.what, each.took === null ? "–" : length(each.took), each.state || "–", each.note || "–"].map((words) => element("td", { textContent: words })),
        ),
      ),
    );
  }

  function draw() {
    const span = spanOf(rows, nowMs);
    const width = Math.max(Math.round(axis.clientWidth), 120);
    chart.replaceChildren(...rows.map((row, index) => rowOf(row, index, span, width)));
    const marks = ticks(span, Math.max(Math.floor(width / 90), 2));
    const picture = svg("svg", { height: 14, width: "100%" });
    for (const [index, mark] of marks.entries()) {
      const x = (mark / (span.end - span.begin)) * width;
      if (index && x > width - 40) continue;
      picture.append(svg("text", { x: x.toFixed(1), y: 11, class: "tick", "text-anchor": index ? "middle" : "start" }, index ? `+${length(mark)}` : clock(span.begin)));
    }
    axis.replaceChildren(picture);
    fill();
  }
  details.addEventListener("toggle", fill);

  return {
    element: card,
    draw,
    update(value) {
      rows = value;
      const [first] = rows;
      const last = rows.filter((row) => row.run === first.run).at(-1);
      card.dataset.run = first.run;
      card.dataset.status = last.status;
      state(how, STATUS[last.status]?.word ?? last.status, last.status);
      text(what, first.title || last.title || "Untitled");
      const others = new Set(rows.map((row) => row.run)).size - 1;
      const words = [
        `began ${moment(first.begin)}`,
        last.end === null ? `for ${length(Math.max(nowMs - first.begin, 0))} so far` : `took ${length(last.end - first.begin)}`,
        last.attempt > 1 && `attempt ${last.attempt}`,
        others > 0 && many(others, "sub-agent", "sub-agents"),
        many(rows.reduce((sum, row) => sum + row.events, 0), "event", "events"),
        rows.some((row) => row.cut_off) && "its beginning has left the log",
        rows.some((row) => row.left_out) && `${rows.reduce((sum, row) => sum + row.left_out, 0)} older bars and marks are not drawn`,
        `run ${first.run}`,
      ];
      text(facts, words.filter(Boolean).join(" · "));
      const name = first.title || first.run;
      play.href = playAddress(first.run);
      play.setAttribute("aria-label", `Play ${name} again, in a new tab`);
      take.href = address("/replay/export", first.run);
      take.setAttribute("aria-label", `Export ${name} as JSON lines`);
      wide.setAttribute("aria-label", `What happened in ${name}`);
      draw();
    },
  };
}

function rowOf(row, index, span, width) {
  const label = element("p", { className: `label${row.depth > 1 ? " deeper" : row.depth === 1 ? " deep" : ""}`, title: `${row.agent}, run ${row.run}, attempt ${row.attempt}` });
  const sign = STATUS[row.status]?.sign ?? "";
  label.append(`${sign} ${row.agent || "run"}`, element("span", { className: "soft", textContent: row.attempt > 1 ? `  attempt ${row.attempt}` : "" }));
  const lanes = Math.max(0, ...row.lanes) + 1;
  const height = lanes * LANE + 4;
  const words = told(row, nowMs, leastMs());
  const picture = svg("svg", { height, width: "100%", role: "img", "aria-label": words });
  for (const piece of pieces(row, span, width, nowMs, leastMs())) picture.append(...drawn(piece, height, row));
  return element("div", { className: "chart-row" }, label, picture);
}

/** One piece, as SVG. Attributes, not styles: the page's policy allows no others. */
function drawn({ kind, lane, x, width, what }, height, row) {
  const y = 2 + lane * LANE;
  const named = (node, words) => {
    node.append(svg("title", {}, words));
    return node;
  };
  const rect = (name, more = {}) => svg("rect", { class: name, x: x.toFixed(1), y, width: width.toFixed(1), height: LANE - 2, rx: 2, ...more });
  switch (kind) {
    case "life":
      return [svg("rect", { class: "life", x: x.toFixed(1), y: 0, width: width.toFixed(1), height, rx: 3 })];
    case "silence": {
      const took = (what.end ?? nowMs) - what.begin;
      const lines = svg("path", { class: "hatch", d: hatch(x, width, height) });
      const group = named(svg("g", { class: "piece silence" }, lines), `silence, ${length(took)}`);
      // A silence in which a tool runs has the tool's name in it.
      const busy = row.bars.some((bar) => bar.begin < (what.end ?? nowMs) && (bar.end ?? nowMs) > what.begin);
      const words = busy ? "" : fitted(`silent ${length(took)}`, width);
      return words ? [group, svg("text", { class: "words silent", x: (x + width / 2).toFixed(1), y: 13, "text-anchor": "middle" }, words)] : [group];
    }
    case "gap":
      return [named(svg("path", { class: "gap-line piece gap", d: `M${x - 1.5} 0V${height}M${x + 1.5} 0V${height}` }), `${many(what.missing, "event is", "events are")} missing`)];
    case "error-mark":
      return [named(svg("path", { class: "error-sign piece error-mark", d: `M${x - 5} 0h10l-5 9z` }), `${what.kind}: ${what.text}`)];
    default: {
      const name = what.name || "waits for the user";
      const took = length((what.end ?? nowMs) - what.begin);
      const bar = named(rect(`piece bar ${kind}`), [name, took, what.name && BAR[kind], what.note].filter(Boolean).join(", "));
      const inside = fitted(kind === "error" ? `✕ ${name}` : name, width);
      return inside ? [bar, svg("text", { class: `words ${kind}`, x: (x + 4).toFixed(1), y: y + 11 }, inside)] : [bar];
    }
  }
}

/** Slanted lines within a box, as one path. */
function hatch(x, width, height) {
  let path = "";
  for (let from = -height; from < width; from += 7) {
    const begin = Math.max(from, 0);
    const end = Math.min(from + height, width);
    if (end > begin) path += `M${(x + begin).toFixed(1)} ${(height - (begin - from)).toFixed(1)}L${(x + end).toFixed(1)} ${(height - (end - from)).toFixed(1)}`;
  }
  return path;
}

const cards = new Map();
const showRuns = rowsOf(at("runs"), () => {
  const card = runCard();
  cards.set(card.element, card);
  return card;
});
const redraw = () => {
  for (const [node, card] of cards) node.isConnected ? card.draw() : cards.delete(node);
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

const line = () => {
  const head = element("b");
  const how = element("span", { className: "state" });
  const rest = element("span", { className: "reason" });
  return { element: element("li", {}, head, how, rest), head, how, rest };
};

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
      state(made.how, aside ? "put aside" : `waits ${duration(Math.max(nowMs - message.since_ms, 0) / 1000)}`, aside ? "failed" : "waiting");
      const words = [message.kind || "not readable", message.device && `from ${message.device}`, bytes(message.bytes), `sent ${moment(message.since_ms)}`, message.tries && `${message.tries} tries`, message.reason];
      text(made.rest, words.filter(Boolean).join(" · "));
    },
  };
}

const showDevices = rowsOf(at("devices").tBodies[0], deviceRow);
const showErrors = rowsOf(at("errors"), errorLine);
const showWaiting = rowsOf(at("waiting"), messageLine);

function hint(id, words) {
  text(at(id), words);
  at(id).hidden = !words;
}

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
  at("play-all").href = playAddress("");
  at("export-all").href = address("/replay/export", "");
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

// --- the stream ---

const LINK = { idle: "", live: "Live", stale: "No news; this is old", connecting: "Looking", ended: "Ended" };

function tellLink(word) {
  if (at("link").dataset.state === word) return;
  at("link").dataset.state = word;
  text(at("link"), LINK[word]);
}

function complain(words, place = "") {
  const notice = at("notice");
  if (notice.dataset.words !== words) {
    notice.dataset.words = words;
    notice.textContent = words;
    if (place) notice.append(" ", element("a", { href: "/", textContent: place }));
  }
  notice.hidden = !words;
}

function end(words, place) {
  over = true;
  tellLink("ended");
  complain(words, place);
}

async function askWhy() {
  try {
    await ask("/api/session");
    tellLink("connecting");
    setTimeout(connect, 5000);
  } catch (error) {
    if (error instanceof Refused && error.status === 401) end("You are not logged in, or the login is over.", "Log in");
    else setTimeout(askWhy, 5000);
  }
}

function hear(message) {
  heardAt = performance.now();
  nowMs = message.at_ms;
  tellLink("live");
}

function connect() {
  tellLink("connecting");
  const source = new EventSource(address("/dashboard/user/events", ""));
  source.addEventListener("user", (event) => {
    newest = JSON.parse(event.data);
    hear(newest);
    if (silenceS === null) chooseSilence(newest.silence_s);
    complain(newest.problem ? `This is not of just now: ${newest.problem}` : "");
    show(newest);
  });
  source.addEventListener("same", (event) => {
    hear(JSON.parse(event.data));
    show(newest);
  });
  source.addEventListener("refused", (event) => {
    source.close();
    const { message, retry } = JSON.parse(event.data);
    complain(message);
    tellLink(retry ? "connecting" : "idle");
    if (retry) setTimeout(connect, 5000);
  });
  source.addEventListener("ended", (event) => {
    source.close();
    end(JSON.parse(event.data).message, "Log in");
  });
  source.onerror = () => {
    tellLink("connecting");
    if (source.readyState === EventSource.CLOSED) askWhy();
  };
}

// --- what one can choose ---

function chooseSilence(usual) {
  let kept = null;
  try {
    kept = Number(localStorage.getItem(KEPT));
  } catch {
    // storage is denied: the default counts
  }
  silenceS = kept >= 1 ? kept : usual;
  at("silence").value = silenceS;
}

at("silence").addEventListener("input", () => {
  const value = Number(at("silence").value);
  if (!(value >= 1)) return;
  silenceS = value;
  try {
    localStorage.setItem(KEPT, String(value));
  } catch {
    // it counts until the page is closed
  }
  if (newest) show(newest);
});
at("speed").addEventListener("change", () => newest && show(newest));
at("choices").addEventListener("submit", (event) => event.preventDefault());
addEventListener("resize", () => requestAnimationFrame(redraw));

let touched = performance.now();
for (const kind of ["pointerdown", "keydown"]) {
  document.addEventListener(kind, () => {
    if (over || performance.now() - touched < TOUCH_MS) return;
    touched = performance.now();
    ask("/api/session").catch(() => {}); // if it is over, the stream says so
  });
}

setInterval(() => {
  if (!over && heardAt && performance.now() - heardAt > STALE_MS) tellLink("stale");
}, 1000);

makeTiles();
at("tenant").value = tenant || "default";
at("user").value = user;
if (tenant && user) {
  document.title = `${user} - Runcast`;
  connect();
} else {
  at("user").focus();
  ask("/api/session").catch((error) => error instanceof Refused && error.status === 401 && end("You are not logged in, or the login is over.", "Log in"));
}
