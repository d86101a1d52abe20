/** The pure parts of the demo page: conversations, what is remembered of runs, and what states and close codes are called. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { complete, Runs } from "../../edge/runcast/edge/static/client/runs.js";
import { Clock } from "../../edge/runcast/edge/static/demo/clock.js";
import { duration, placesOf, roughly, soFar } from "../../edge/runcast/edge/static/demo/dom.js";
import { Notes, THOUGHTS_MAX } from "../../edge/runcast/edge/static/demo/notes.js";
import { MAIN, threadsOf, UNTITLED } from "../../edge/runcast/edge/static/demo/threads.js";
import { closedWords, stateWords } from "../../edge/runcast/edge/static/demo/words.js";

/** Apply events, as the page does; `kind` and whatever else is given. */
function feed(events, notes = new Notes()) {
  const runs = new Runs(1_000);
  events.forEach((given, index) => {
    const change = runs.apply(complete({ id: `e${index}`, attempt: 1, ...given }));
    if (change) notes.take(change.event, change.run, (id) => runs.get(id));
  });
  return { runs, notes };
}

const said = (text, thread) => ({ kind: "user_message", thread, data: { text } });
const begun = (run_id, more = {}) => ({ kind: "agent_started", run_id, seq: 1, ...more });
const thought = (run_id, seq, text, more = {}) => ({ kind: "agent_thinking", run_id, seq, data: { text }, ...more });

test("a conversation is called by the first thing said in it, and the newest comes first", () => {
  const { runs } = feed([said("the  first\nline", "a"), said("another", "b"), said("later", "a")]);
  assert.deepEqual(
    threadsOf(runs.timeline, "b").map(({ id, title }) => [id, title]),
    [["a", "the first line"], ["b", "another"]],
  );
});

test("what names no thread is in the main conversation, and a run's title serves where nobody said anything", () => {
  const { runs } = feed([begun("r", { data: { title: "Nightly report" } })]);
  assert.deepEqual(threadsOf(runs.timeline, MAIN), [{ id: MAIN, title: "Nightly report", activity: "working" }]);
});

test("an empty conversation is listed while it is shown", () => {
  const { runs } = feed([said("x", "a")]);
  assert.deepEqual(threadsOf(runs.timeline, "new")[0], { id: "new", title: UNTITLED, activity: "" });
  assert.equal(threadsOf(runs.timeline, "a").length, 1);
});

test("a question outweighs work, and what a sub-agent does moves no conversation up", () => {
  const { runs } = feed([
    begun("p", { thread: "a" }),
    said("x", "b"),
    begun("c", { thread: "a", parent_run_id: "p" }),
    { kind: "input_requested", run_id: "c", seq: 2, thread: "a", data: { request_id: "q" } },
  ]);
  assert.deepEqual(
    threadsOf(runs.timeline, "b").map(({ id, activity }) => [id, activity]),
    [["b", ""], ["a", "waiting"]],
  );
});

test("thoughts are kept once each, the oldest go, and a higher attempt begins anew", () => {
  const many = Array.from({ length: THOUGHTS_MAX + 2 }, (_, index) => thought("r", index + 3, `t${index}`));
  const { notes } = feed([begun("r"), thought("r", 2, "t0"), ...many]);
  assert.equal(notes.of("r").thoughts.length, THOUGHTS_MAX);
  assert.equal(notes.of("r").forgotten, 2);
  assert.equal(notes.of("r").thoughts[0], "t2");
  const again = feed([begun("r"), thought("r", 2, "old"), begun("r", { attempt: 2 }), thought("r", 2, "new", { attempt: 2 })]);
  assert.deepEqual(again.notes.of("r").thoughts, ["new"]);
});

test("where a sub-agent began is told by what its parent had done before", () => {
  const tool = { kind: "tool_executing", run_id: "p", seq: 2, data: { tool_call_id: "t1", tool: "search" } };
  const { notes, runs } = feed([begun("p"), tool, begun("c", { parent_run_id: "p" }), thought("c", 2, "x", { parent_run_id: "p" })]);
  assert.deepEqual(notes.of("p").children, [{ id: "c", at: 1 }]);
  notes.prune((id) => id !== "p" && runs.get(id) !== undefined);
  assert.deepEqual(notes.of("p").children, []);
  assert.deepEqual(notes.of("c").thoughts, ["x"]);
});

test("states are called by what they mean", () => {
  const seen = { before: true, online: true, replay: false };
  assert.equal(stateWords("live", {}, seen), "Live");
  assert.equal(stateWords("live", {}, { ...seen, replay: true }), "Replay");
  assert.equal(stateWords("connecting", {}, { before: false, online: true }), "Connecting");
  assert.equal(stateWords("connecting", {}, seen), "Reconnecting, nothing is lost");
  assert.equal(stateWords("offline", { code: 1006 }, seen), "Reconnecting, nothing is lost");
  assert.equal(stateWords("offline", { code: 1006 }, { before: true, online: false }), "No network, nothing is lost");
  assert.match(stateWords("offline", { code: 4011 }, seen), /Too many pages/);
  assert.equal(stateWords("resuming", {}, seen), "Catching up, nothing is lost");
});

test("a close for good says what to do, in words for people", () => {
  assert.match(closedWords({ code: 4501, reason: "x" }).advice, /Sign in again/);
  assert.deepEqual(closedWords({ code: 4506, reason: "revoked: stolen laptop" }).said, "revoked: stolen laptop");
  assert.match(closedWords({ code: 4506 }).heading, /access was ended/);
  for (const code of [1009, 4500, 4501, 4502, 4503, 4504, 4505, 4506, 4999, 0]) {
    const { heading, advice } = closedWords({ code });
    assert.ok(heading && advice, String(code));
    assert.doesNotMatch(heading + advice, /\b(token|frame|socket|4\d\d\d)\b/);
  }
});

test("a sub-agent that is heard of before its parent is its child all the same", () => {
  const { notes, runs } = feed([begun("c", { parent_run_id: "p" })]);
  notes.prune((id) => runs.get(id) !== undefined);
  assert.deepEqual(notes.of("p").children, [{ id: "c", at: 0 }]);
  const whole = feed([begun("c", { parent_run_id: "p" }), begun("p"), thought("p", 2, "x")]);
  assert.deepEqual(whole.notes.of("p").children, [{ id: "c", at: 0 }]);
  assert.deepEqual(whole.notes.of("p").thoughts, ["x"]);
});

test("how long something has been going on does not depend on whose clock is right", () => {
  const clock = new Clock();
  assert.equal(clock.elapsed("r", 1_000, 5_000), 4_000);
  clock.hear({ run_id: "r", time_unix_ms: 1_000 }, 7_201_050); // this clock is two hours ahead, and the event was 50 ms on its way
  clock.hear({ run_id: "r", time_unix_ms: 2_000 }, 7_202_010);
  clock.hear({ run_id: "r", time_unix_ms: 3_000 }, 7_203_900);
  assert.equal(clock.elapsed("r", 1_000, 7_205_010), 4_000);
  assert.equal(clock.elapsed("another", 1_000, 7_205_010), 4_000);
  clock.hear({ run_id: "slow", time_unix_ms: 9_000 }, 4_000);
  assert.equal(clock.elapsed("slow", 9_000, 5_000), 1_000);
  assert.equal(clock.elapsed("slow", 99_000, 5_000), 0);
  assert.equal(clock.elapsed("slow", null, 5_000), null);
  clock.prune(() => false);
  assert.equal(clock.elapsed("r", 1_000, 86_500_000), null, "a clock is wrong, nobody knows by how much");
});

test("times are told as people do", () => {
  assert.deepEqual([0, 999, 1_500, 59_940, 59_960, 119_700, 3_600_000].map(duration), ["0 ms", "999 ms", "1.5 s", "59.9 s", "1 min 0 s", "2 min 0 s", "1 h 0 min"]);
  assert.deepEqual([500, 2_400, 4_000_000].map(roughly), ["about 500 ms", "about 2 s", "about 1 h 6 min"]);
  assert.deepEqual([1_999, 61_000, 7_260_000].map(soFar), ["1 s", "1 min 1 s", "2 h 1 min"]);
});

test("places are found where they stand, and a long line without any costs no more than its length", () => {
  const text = "See csv.py:82 and (lib/a-b.c.py:7), not a:1, 10:30 or v1.2; csv.py:82 again.";
  const found = placesOf(text);
  assert.deepEqual(found.map(({ place }) => place), ["csv.py:82", "lib/a-b.c.py:7", "csv.py:82"]);
  for (const { place, index } of found) assert.equal(text.slice(index, index + place.length), place);
  for (const piece of ["A", "a.", ".", "a.a", ":1", "a.b:"]) {
    const long = piece.repeat(200_000 / piece.length);
    const begun = performance.now();
    placesOf(long);
    assert.ok(performance.now() - begun < 2_000, `${piece}: with the square of its length this takes 20 s`);
  }
});
