// The dashboard's page: takes what the server pushes once a second, and shows it. Everything shown is text; nothing is made into markup.
import { alarms, bytes, count, duration, ms, Points, seconds, thresholdOf, thresholds, WATCHED } from "./figures.js";
import { bar, lineChart, trail } from "./charts.js";
import { at, cells, element, hint, line, makeTiles, rowsOf, text } from "./dom.js";
import { follow } from "./following.js";

const KEPT = "runcast-dashboard-thresholds";
const STALE_MS = 4000; // the server speaks every second

const points = new Points();
let limits = thresholds(readKept());
let newest = null;

// --- thresholds, kept in this browser ---

function readKept() {
  try {
    return JSON.parse(localStorage.getItem(KEPT) ?? "null");
  } catch {
    return null; // storage is denied, or holds something else: the defaults count
  }
}

function keep() {
  try {
    localStorage.setItem(KEPT, JSON.stringify(limits));
  } catch {
    // they count until the page is closed
  }
}

function showThresholds() {
  for (const { id, name, unit } of WATCHED) {
    const input = element("input", { type: "number", id: `limit-${id}`, min: "0", step: "any", value: limits[id] ?? "" });
    input.addEventListener("input", () => {
      const { value, problem } = thresholdOf(input.value, !input.validity.badInput);
      input.setCustomValidity(problem ?? "");
      if (problem) return void input.reportValidity();
      limits = { ...limits, [id]: value };
      keep();
      if (newest) showAlarms(newest);
    });
    at("thresholds").append(element("label", {}, element("span", { textContent: unit ? `${name} (${unit})` : name }), input));
  }
  at("usual").addEventListener("click", () => {
    limits = thresholds(null);
    keep();
    for (const { id } of WATCHED) {
      at(`limit-${id}`).setCustomValidity("");
      at(`limit-${id}`).value = limits[id];
    }
    if (newest) showAlarms(newest);
  });
  at("thresholds").addEventListener("submit", (event) => event.preventDefault());
}

// --- what is shown ---

const CHARTS = [
  { title: "Events", format: (value) => `${count(value)}/s`, lines: [["in", "in", "first"], ["out", "out", "second"], ["acknowledged", "acked", "third"]] },
  { title: "Connections", format: count, lines: [["connected", "devices", "first"], ["behind", "behind", "bad"]] },
  { title: "Agent to device", format: ms, lines: [["p50", "send_p50", "first"], ["p95", "send_p95", "second"], ["p99", "send_p99", "bad"]] },
  { title: "Agent to ack", format: ms, lines: [["p50", "ack_p50", "first"], ["p95", "ack_p95", "second"], ["p99", "ack_p99", "bad"]] },
  { title: "Oldest unacknowledged", format: seconds, lines: [["age", "oldest_s", "first"]] },
  { title: "Refusals", format: (value) => `${count(value)}/s`, lines: [["refused", "refused", "bad"]] },
];
let charts = [];

const TILES = [
  ["in", "Events in", (now) => `${count(now.point.in)}/s`],
  ["out", "Events out", (now) => `${count(now.point.out)}/s`],
  ["devices", "Connections", (now) => count(now.point.devices)],
  ["behind", "Devices behind", (now) => count(now.point.behind), "behind"],
  ["oldest", "Oldest unacked", (now) => seconds(now.point.oldest_s), "oldest"],
  ["send", "p99 to device", (now) => (now.point.send_p99 === null ? "–" : `≤ ${ms(now.point.send_p99)}`), "send"],
  ["ack", "p99 to ack", (now) => (now.point.ack_p99 === null ? "–" : `≤ ${ms(now.point.ack_p99)}`), "ack"],
  ["users", "Users connected", (now) => count(now.users)],
  ["agents", "Agents connected", (now) => count(now.producers)],
  ["recoveries", "Recoveries", (now) => count(now.recoveries)],
];

function showAlarms(now) {
  const found = alarms(now, limits);
  const words = found.map((each) => `${each.name}: ${each.unit === "ms" ? ms(each.value) : each.unit === "s" ? seconds(each.value) : count(each.value) + each.unit} (threshold ${each.limit}${each.unit && ` ${each.unit}`})`);
  at("alarms").dataset.state = found.length ? "bad" : "ok";
  const list = at("alarm-list");
  const lines = words.length ? words : ["None: every figure is below its threshold."];
  while (list.children.length > lines.length) list.lastChild.remove();
  while (list.children.length < lines.length) list.append(element("li"));
  lines.forEach((line, index) => text(list.children[index], line));
  const ids = new Set(found.map((each) => each.id));
  for (const [id, , , watched] of TILES) at(`tile-${id}`).classList.toggle("over", Boolean(watched && ids.has(watched)));
  document.title = found.length ? `(${found.length}) Runcast dashboard` : "Runcast dashboard";
}

function processRow() {
  const name = element("th", { scope: "row" });
  const { made, tell } = cells(["", "number", "", ...Array(8).fill("number")]);
  const state = element("span", { className: "state" });
  const reason = element("span", { className: "reason" });
  made[0].append(state, reason);
  const small = trail(points.trailSlots);
  made[2].append(small.element);
  const row = element("tr", {}, name, ...made);
  const some = (value, format) => (value === undefined || value === null ? "–" : format(value));
  return {
    element: row,
    update(each, key) {
      row.dataset.process = each.id;
      row.dataset.state = each.state;
      text(name, each.id);
      name.title = `${each.role}, version ${each.version}`;
      text(state, each.state === "gone" ? `gone, ${duration(each.age_s)} ago` : each.state);
      state.dataset.state = each.state;
      text(reason, each.state === "gone" ? "" : each.reason);
      tell(1, count(each.rate));
      small.update(points.trails.get(key) ?? []);
      tell(3, some(each.devices, count));
      tell(4, some(each.behind, count));
      tell(5, some(each.oldest_s, seconds));
      tell(6, some(each.send_p99, (value) => `≤ ${ms(value)}`));
      tell(7, some(each.ack_p99, (value) => `≤ ${ms(value)}`));
      tell(8, each.memory ? bytes(each.memory) : "–");
      tell(9, each.restarts ? `${each.recoveries}, ${each.restarts} restarts` : count(each.recoveries));
      tell(10, each.state === "gone" ? "–" : duration(each.uptime_s));
    },
  };
}

function streamRow() {
  const name = element("th", { scope: "row" });
  const { made, tell } = cells(["number", "", "number", "number", "number"]);
  const share = bar();
  made[1].append(share.element);
  return {
    element: element("tr", {}, name, ...made),
    update({ stream, most }) {
      text(name, stream.name);
      tell(0, stream.rate === null ? "–" : count(stream.rate));
      share.update(most > 0 ? (stream.rate ?? 0) / most : 0);
      tell(2, count(stream.messages));
      tell(3, bytes(stream.bytes));
      tell(4, String(stream.replicas));
    },
  };
}

function dependencyLine() {
  const made = line();
  return {
    element: made.element,
    update(each) {
      text(made.head, each.name);
      text(made.how, each.state);
      made.how.dataset.state = each.state;
      const well = `${each.ok} of ${each.of} processes ok`;
      text(made.rest, [each.reason && `${each.where}: ${each.reason}`, well, each.recoveries && `${each.recoveries} recoveries`].filter(Boolean).join("; "));
    },
  };
}

function alertLine() {
  const made = line();
  const link = made.head.appendChild(element("a"));
  return {
    element: made.element,
    update(each) {
      text(link, `${each.tenant}/${each.user}`);
      link.href = `/dashboard/user?${new URLSearchParams({ tenant: each.tenant, user: each.user })}`;
      text(made.how, `${seconds(each.age_s)} late`);
      made.how.dataset.state = "degraded";
      text(made.rest, `${new Date(each.at_ms).toLocaleTimeString()}: ${each.kind} of run ${each.run_id}, on ${each.edge} (${each.devices.join(", ")})`);
    },
  };
}

const showProcesses = rowsOf(at("processes").tBodies[0], processRow);
const showStreams = rowsOf(at("streams").tBodies[0], streamRow);
const showDependencies = rowsOf(at("dependencies"), dependencyLine);
const showDelivery = rowsOf(at("delivery"), alertLine);

function show(now) {
  if (now.point) for (const [id, , read] of TILES) text(at(`tile-${id}`).lastChild, read(now));
  showAlarms(now);
  showProcesses(now.processes.map((each) => [`${each.role}/${each.id}`, each]));
  at("processes").parentElement.classList.toggle("tall", now.processes.length > 12);
  const roles = Object.entries(now.roles).map(([role, { alive, gone }]) => `${alive} ${role}${alive === 1 ? "" : "s"}${gone ? ` (${gone} gone)` : ""}`);
  text(at("roles"), roles.join(", "));
  const more = [now.more && `${now.more} more are not listed; their figures are in the sums.`, now.unreadable && `${now.unreadable} messages could not be read.`];
  hint("more", more.filter(Boolean).join(" "));
  showDependencies(now.dependencies.map((each) => [each.name, each]));
  showDelivery(now.alerts.slice(0, 8).map((each) => [`${each.at_ms} ${each.run_id}`, each]));
  text(at("delivery-count"), now.alerts_heard ? `${now.alerts_heard} since this admin process began` : "none");
  const most = Math.max(0, ...now.streams.map((stream) => stream.rate ?? 0));
  showStreams(now.streams.map((stream) => [stream.name, { stream, most }]));
  hint("streams-problem", now.streams_problem || (now.streams.length ? "" : "Asking."));
}

function draw() {
  for (const chart of charts) chart.update(points.columns.n, points.columns);
}

showThresholds();
makeTiles(TILES);
follow("/dashboard/events", STALE_MS, {
  history(told) {
    points.begin(told);
    const minutes = Math.round((points.slots * 2) / 60);
    charts = CHARTS.map(({ title, format, lines }) =>
      lineChart({ title, format, slots: points.slots, minutes, lines: lines.map(([name, column, look]) => ({ name, column, look })) }),
    );
    at("charts").replaceChildren(...charts.map((chart) => chart.element));
    draw();
  },
  now(told) {
    newest = told;
    if (points.add(newest)) draw();
    show(newest);
    return "";
  },
});
