// The timeline's pure parts: what is drawn where, and what is told of it in words.
import assert from "node:assert/strict";
import { test } from "node:test";

const { fitted, length, listed, pieces, spanOf, ticks, told } = await import("../../admin/runcast/admin/static/dashboard/gantt.js");

const row = {
  run: "r", attempt: 1, agent: "a", begin: 1000, end: 11_000, status: "completed", lanes: [0, 1],
  bars: [{ name: "search", begin: 2000, end: 5000, status: "ok", note: "" }, { name: "read", begin: 3000, end: 3000, status: "error", note: "gone" }],
  silences: [{ begin: 5000, end: 11_000 }, { begin: 1000, end: 2000 }],
  gaps: [{ at: 11_000, kind: "gap", missing: 2 }],
  errors: [{ at: 3000, kind: "tool", text: "read: gone" }, { at: 11_000, kind: "degraded", text: "less" }],
};

test("what is drawn lies within the picture, in its lane, and is never too small to see", () => {
  const all = pieces(row, spanOf([row], 0), 100, 0, 5000);
  assert.deepEqual(all.map(({ kind, lane, x, width }) => [kind, lane, x, width]), [
    ["life", 0, 0, 100], ["silence", 0, 40, 60], ["ok", 0, 10, 30], ["error", 1, 20, 3], ["gap", 0, 100, 0], ["error-mark", 0, 100, 0],
  ]);
  const open = { ...row, end: null, bars: [{ name: "x", begin: 2000, end: null, status: "running" }], lanes: [0], silences: [{ begin: 5000, end: null }], gaps: [], errors: [] };
  const span = spanOf([open], 21_000);
  assert.deepEqual(span, { begin: 1000, end: 21_000 });
  assert.deepEqual(pieces(open, span, 100, 21_000, 1).map(({ kind, x, width }) => [kind, x, width]), [["life", 0, 100], ["silence", 20, 80], ["running", 5, 95]]);
  assert.deepEqual(spanOf([{ begin: 7, end: 7 }], 0), { begin: 7, end: 8 }); // nothing is divided by 0
});

test("an axis has round times, and not too many", () => {
  assert.deepEqual(ticks({ begin: 0, end: 10_000 }, 6), [0, 2000, 4000, 6000, 8000, 10_000]);
  for (const end of [1, 37, 999, 61_000, 5_000_000, 400_000_000, 9e12]) {
    const made = ticks({ begin: 0, end }, 5);
    assert.ok(made.length >= 1 && made.length <= 6, `${end}: ${made.length}`);
  }
});

test("lengths and names are short", () => {
  assert.deepEqual([0, 999, 1000, 61_000, 120_000, 3_600_000, 5_400_000].map(length), ["0 ms", "999 ms", "1 s", "1 min 1 s", "2 min", "1 h", "1 h 30 min"]);
  assert.deepEqual([fitted("search", 100), fitted("search_the_web", 60), fitted("search", 20)], ["search", "search_…", ""]);
});

test("a row is told in words, too", () => {
  assert.equal(told(row, 0, 5000), "a, attempt 1: completed, 10 s; 2 tool calls; 1 silence; 1 gap; 2 errors");
  assert.deepEqual(listed(row, 0, 5000).map(({ at, what, took, state, note }) => [at, what, took, state, note]), [
    [2000, "search", 3000, "ok", ""], [3000, "read", 0, "error", "gone"], [5000, "silence", 6000, "", ""],
    [11_000, "gap", null, "", "2 events are missing"], [11_000, "error", null, "degraded", "less"],
  ]);
});
