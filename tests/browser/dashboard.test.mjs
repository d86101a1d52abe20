// The dashboard's pure parts: where lines go, what is missing, what alarms.
import assert from "node:assert/strict";
import { test } from "node:test";

const pages = "../../admin/runcast/admin/static/dashboard";
const { linePath, niceMax, spread } = await import(`${pages}/charts.js`);
const { alarms, bytes, count, duration, ms, Points, thresholdOf, thresholds, WATCHED } = await import(`${pages}/figures.js`);

const quiet = { roles: { edge: { alive: 2, gone: 0 } }, processes: [{ role: "edge", id: "a", state: "ok", rate: 1 }], point: { n: 1, oldest_s: 1, behind: 0, send_p99: null, ack_p99: 50, refused: 0 } };

test("a scale is round and holds the largest", () => {
  for (const [largest, max] of [[0, 1], [NaN, 1], [1, 1], [7, 10], [11, 20], [480, 500], [1001, 2000]]) assert.equal(niceMax(largest), max);
});

test("a line ends at the right edge and breaks where nothing was measured", () => {
  const box = { width: 100, height: 10, slots: 5, max: 10 };
  assert.equal(linePath([0, 5, 10], box), "M50.0 10.0L75.0 5.0L100.0 0.0");
  assert.equal(linePath([1, null, 10, 99], box), "M25.0 9.0h0.5M75.0 0.0L100.0 0.0");
  assert.equal(linePath([], box), "");
});

test("points that were never made are seen to be missing", () => {
  assert.deepEqual(spread([7, 8, 11], [1, 2, 3], 10), [1, 2, null, null, 3]);
  assert.deepEqual(spread([7, 8, 11], [1, 2, 3], 2), [null, 3]);
  assert.deepEqual(spread([], [], 2), []);
});

test("points are kept for so long, and each once", () => {
  const points = new Points();
  points.begin({ points: { n: [1, 2], in: [5, 6] }, point_s: 2, span_s: 4, trails: { "edge/a": [1] } });
  assert.equal(points.add({ point: { n: 2, in: 6 }, processes: [] }), false);
  assert.equal(points.add({ point: { n: 3, in: 7 }, processes: [{ role: "edge", id: "a", rate: 9 }] }), true);
  assert.deepEqual(points.columns, { n: [2, 3], in: [6, 7] });
  assert.deepEqual([...points.trails], [["edge/a", [1, 9]]]);
});

test("an alarm is at or over its threshold, and what is unknown is none", () => {
  const limits = thresholds(null);
  assert.deepEqual(alarms(quiet, limits), []);
  const bad = { ...quiet, roles: { edge: { alive: 1, gone: 1 } }, point: { ...quiet.point, oldest_s: 10 } };
  assert.deepEqual(alarms(bad, limits).map((each) => each.id), ["gone", "oldest"]);
  assert.deepEqual(alarms(bad, { ...limits, gone: null }).map((each) => each.id), ["oldest"]);
  assert.deepEqual(alarms({ ...quiet, point: null }, limits), []);
});

test("delivery alerts of the last minutes alarm, older ones don't", () => {
  const now = { ...quiet, at_ms: 1_000_000, alerts: [{ at_ms: 990_000 }, { at_ms: 600_000 }] };
  assert.deepEqual(alarms(now, thresholds(null)).map((each) => [each.id, each.value]), [["alerts", 1]]);
  assert.deepEqual(alarms({ ...now, alerts: [{ at_ms: 600_000 }] }, thresholds(null)), []);
});

test("a field holds a threshold, nothing, or what can't be one", () => {
  assert.deepEqual(thresholdOf("2.5", true), { value: 2.5 });
  assert.deepEqual(thresholdOf("", true), { value: null });
  for (const [text, isNumber] of [["0", true], ["-1", true], ["", false], ["x", true]]) assert.ok(thresholdOf(text, isNumber).problem);
});

test("kept thresholds are believed as far as they can be used", () => {
  const kept = thresholds({ gone: null, oldest: 3, behind: "x", send: -1, ack: Infinity, other: 1 });
  const usual = Object.fromEntries(WATCHED.map(({ id, at }) => [id, at]));
  assert.deepEqual(kept, { ...usual, gone: null, oldest: 3 });
  for (const broken of [undefined, 5, "x", []]) assert.deepEqual(thresholds(broken), usual);
});

test("figures are short", () => {
  assert.deepEqual([count(0.04), count(99.94), count(1234), count(1234567)], ["0", "99.9", "1,234", "1.2M"]);
  assert.deepEqual([bytes(5), bytes(2048), bytes(3 * 2 ** 30)], ["5 B", "2 KiB", "3 GiB"]);
  assert.deepEqual([ms(50), ms(1500), duration(59), duration(3700), duration(90_000)], ["50 ms", "1.5 s", "59 s", "1 h 1 min", "1 d 1 h"]);
});
