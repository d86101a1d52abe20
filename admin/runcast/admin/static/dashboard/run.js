// One run on the user's page, as SVG and as a table. What goes where is computed by gantt.js.
import { svg } from "./charts.js";
import { element, text } from "./dom.js";
import { BAR, fitted, length, listed, pieces, spanOf, STATUS, ticks, told } from "./gantt.js";
import { clock, leastMs, many, moment, offer, seen, state } from "./seen.js";

const LANE = 16;
const LISTED_MAX = 300;

/** One run with what is below it. */
export function runCard() {
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
  let drawn = "";

  function fill() {
    if (!details.open) return;
    const all = rows.flatMap((row) => listed(row, seen.nowMs, leastMs()).map((each) => ({ ...each, who: row.agent || row.run }))).sort((one, other) => one.at - other.at);
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
    const span = spanOf(rows, seen.nowMs);
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
        last.end === null ? `for ${length(Math.max(seen.nowMs - first.begin, 0))} so far` : `took ${length(last.end - first.begin)}`,
        last.attempt > 1 && `attempt ${last.attempt}`,
        others > 0 && many(others, "sub-agent", "sub-agents"),
        many(rows.reduce((sum, row) => sum + row.events, 0), "event", "events"),
        rows.some((row) => row.cut_off) && "its beginning has left the log",
        rows.some((row) => row.left_out) && `${rows.reduce((sum, row) => sum + row.left_out, 0)} older bars and marks are not drawn`,
        `run ${first.run}`,
      ];
      text(facts, words.filter(Boolean).join(" · "));
      const name = first.title || first.run;
      offer(play, take, first.run);
      play.setAttribute("aria-label", `Play ${name} again, in a new tab`);
      take.setAttribute("aria-label", `Export ${name} as JSON lines`);
      wide.setAttribute("aria-label", `What happened in ${name}`);
      // What is over looks as it did; to draw thirty runs again and again would keep a processor busy.
      const picture = rows.some((row) => row.end === null) ? "" : `${leastMs()} ${JSON.stringify(rows)}`;
      if (picture === "" || picture !== drawn) draw();
      drawn = picture;
    },
  };
}

function rowOf(row, index, span, width) {
  const label = element("p", { className: `label${row.depth > 1 ? " deeper" : row.depth === 1 ? " deep" : ""}`, title: `${row.agent}, run ${row.run}, attempt ${row.attempt}` });
  const sign = STATUS[row.status]?.sign ?? "";
  label.append(`${sign} ${row.agent || "run"}`, element("span", { className: "soft", textContent: row.attempt > 1 ? `  attempt ${row.attempt}` : "" }));
  const lanes = Math.max(0, ...row.lanes) + 1;
  const height = lanes * LANE + 4;
  const words = told(row, seen.nowMs, leastMs());
  const picture = svg("svg", { height, width: "100%", role: "img", "aria-label": words });
  for (const piece of pieces(row, span, width, seen.nowMs, leastMs())) picture.append(...piecesDrawn(piece, height, row));
  return element("div", { className: "chart-row" }, label, picture);
}

/** One piece, as SVG. Attributes, not styles: the page's policy allows no others. */
function piecesDrawn({ kind, lane, x, width, what }, height, row) {
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
      const took = (what.end ?? seen.nowMs) - what.begin;
      const lines = svg("path", { class: "hatch", d: hatch(x, width, height) });
      const group = named(svg("g", { class: "piece silence" }, lines), `silence, ${length(took)}`);
      // A silence in which a tool runs has the tool's name in it.
      const busy = row.bars.some((bar) => bar.begin < (what.end ?? seen.nowMs) && (bar.end ?? seen.nowMs) > what.begin);
      const words = busy ? "" : fitted(`silent ${length(took)}`, width);
      return words ? [group, svg("text", { class: "words silent", x: (x + width / 2).toFixed(1), y: 13, "text-anchor": "middle" }, words)] : [group];
    }
    case "gap":
      return [named(svg("path", { class: "gap-line piece gap", d: `M${x - 1.5} 0V${height}M${x + 1.5} 0V${height}` }), `${many(what.missing, "event is", "events are")} missing`)];
    case "error-mark":
      return [named(svg("path", { class: "error-sign piece error-mark", d: `M${x - 5} 0h10l-5 9z` }), `${what.kind}: ${what.text}`)];
    default: {
      const name = what.name || "waits for the user";
      const took = length((what.end ?? seen.nowMs) - what.begin);
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
