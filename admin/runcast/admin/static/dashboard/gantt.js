// A run over time: where its bars, silences and marks go. Pure: no page, no clock.

/** How a status is said, and by which sign it is told besides its colour. */
export const STATUS = {
  running: { sign: "▸", word: "running" },
  waiting: { sign: "?", word: "waits for the user" },
  completed: { sign: "✓", word: "completed" },
  cancelled: { sign: "–", word: "cancelled" },
  failed: { sign: "✕", word: "failed" },
  lost: { sign: "✕", word: "lost" },
  superseded: { sign: "↻", word: "superseded by a later attempt" },
};

export const BAR = { running: "running", ok: "ok", error: "error", cancelled: "cancelled", cut: "cut off with the run", waiting: "waits for the user", waited: "waited for the user" };

const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 144e5, 288e5, 864e5];

/** From when to when a run with all that is below it is drawn, Unix milliseconds. */
export function spanOf(rows, now) {
  const begin = Math.min(...rows.map((row) => row.begin));
  const end = Math.max(...rows.map((row) => row.end ?? Math.max(now, row.begin)));
  return { begin, end: Math.max(end, begin + 1) };
}

/** Round times on the axis, milliseconds from the begin; at most `most`, from 0. */
export function ticks({ begin, end }, most) {
  const length = end - begin;
  const step = STEPS.find((each) => length / each < most) ?? Math.ceil(length / most);
  const made = [];
  for (let at = 0; at <= length; at += step) made.push(at);
  return made;
}

/** Milliseconds as they are written on the axis, or for how long something took. */
export function length(value) {
  if (value < 1000) return `${Math.round(value)} ms`;
  if (value < 60_000) return `${Math.round(value / 100) / 10} s`;
  const s = Math.round(value / 1000);
  if (s < 3600) return s % 60 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${s / 60} min`;
  const m = Math.round(s / 60);
  return m % 60 ? `${Math.floor(m / 60)} h ${m % 60} min` : `${m / 60} h`;
}

/** Silences that are long enough to be shown. */
export const silencesOf = (row, now, leastMs) => row.silences.filter(({ begin, end }) => (end ?? now) - begin >= leastMs);

/**
 * What of a row is drawn, in pixels: `{kind, x, width, lane, what}`; bands first, marks last.
 * @param {{begin: number, end: number}} span
 * @param {number} width of the picture
 * @param {number} leastMs how long a silence is, to be shown
 */
export function pieces(row, span, width, now, leastMs) {
  const x = (time) => ((Math.min(Math.max(time, span.begin), span.end) - span.begin) / (span.end - span.begin)) * width;
  const wide = (begin, end, least) => {
    const from = x(begin);
    const made = Math.max(x(end) - from, least);
    return { x: Math.min(from, width - least), width: Math.min(made, width) };
  };
  const until = row.end ?? now;
  return [
    { kind: "life", lane: 0, ...wide(row.begin, until, 2), what: row },
    ...silencesOf(row, now, leastMs).map((what) => ({ kind: "silence", lane: 0, ...wide(what.begin, what.end ?? now, 2), what })),
    ...row.bars.map((what, index) => ({ kind: what.status, lane: row.lanes[index], ...wide(what.begin, what.end ?? now, 3), what })),
    ...row.gaps.map((what) => ({ kind: "gap", lane: 0, ...wide(what.at, what.at, 0), what })),
    ...row.errors.filter(({ kind }) => kind !== "tool").map((what) => ({ kind: "error-mark", lane: 0, ...wide(what.at, what.at, 0), what })),
  ];
}

/** The text that fits, or "". */
export function fitted(words, width, letter = 6.3) {
  const room = Math.floor((width - 8) / letter);
  if (words.length <= room) return words;
  return room >= 4 ? `${words.slice(0, room - 1)}…` : "";
}

/** A row in words, for who can't see it. */
export function told(row, now, leastMs) {
  const silences = silencesOf(row, now, leastMs);
  const parts = [`${row.agent || "a run"}, attempt ${row.attempt}: ${STATUS[row.status]?.word ?? row.status}, ${length((row.end ?? now) - row.begin)}`];
  const tools = row.bars.filter(({ name }) => name);
  if (tools.length) parts.push(`${tools.length} tool ${tools.length === 1 ? "call" : "calls"}`);
  if (silences.length) parts.push(`${silences.length} ${silences.length === 1 ? "silence" : "silences"}`);
  if (row.gaps.length) parts.push(`${row.gaps.length} ${row.gaps.length === 1 ? "gap" : "gaps"}`);
  if (row.errors.length) parts.push(`${row.errors.length} ${row.errors.length === 1 ? "error" : "errors"}`);
  return parts.join("; ");
}

/** Everything of a row, in the order of time: `{at, what, took, state, note}`. */
export function listed(row, now, leastMs) {
  const all = [
    ...row.bars.map((bar) => ({ at: bar.begin, what: bar.name || "waits for the user", took: (bar.end ?? now) - bar.begin, state: BAR[bar.status] ?? bar.status, note: bar.note })),
    ...silencesOf(row, now, leastMs).map(({ begin, end }) => ({ at: begin, what: "silence", took: (end ?? now) - begin, state: end === null ? "still" : "", note: "" })),
    ...row.gaps.map(({ at, missing }) => ({ at, what: "gap", took: null, state: "", note: `${missing} ${missing === 1 ? "event is" : "events are"} missing` })),
    ...row.errors.filter(({ kind }) => kind !== "tool").map(({ at, kind, text }) => ({ at, what: kind === "lost" ? "lost" : "error", took: null, state: kind === "lost" ? "" : kind, note: text })),
  ];
  return all.sort((one, other) => one.at - other.at);
}
