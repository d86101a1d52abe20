/** What React components are given: new where something changed, and the same object everywhere else. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { complete, Runs } from "../../edge/runcast/edge/static/client/runs.js";
import { NOTHING, Views } from "../../edge/runcast/edge/static/react/views.js";

/** Views of runs, fed by events as a connection feeds them. */
function watching(entriesMax = 100) {
  const runs = new Runs(entriesMax);
  const views = new Views();
  let seq = 0;
  const take = (...events) => {
    const changed = events.map(([kind, run_id, data = {}, more = {}]) => runs.apply(complete({ id: `e${++seq}`, kind, run_id, attempt: 1, seq, data, ...more })));
    return views.take(changed.flatMap((change) => change?.run ?? change?.item ?? []), runs);
  };
  return { runs, views, take };
}

const delta = (run, text, message_id = "m") => ["agent_response", run, { mode: "delta", text, message_id }];

test("a run that changed is new, the others are the same", () => {
  const { views, take } = watching();
  take(["agent_started", "a"], ["agent_started", "b"], delta("a", "x"));
  const before = views.snapshot;
  assert.equal(take(delta("a", "y")), true);
  const after = views.snapshot;
  assert.notEqual(after, before);
  assert.notEqual(after.runs.get("a"), before.runs.get("a"));
  assert.equal(after.runs.get("b"), before.runs.get("b"));
  assert.deepEqual([before.runs.get("a").messages[0].text, after.runs.get("a").messages[0].text], ["x", "xy"]);
  assert.deepEqual(after.timeline.map(({ id }) => id), ["a", "b"]);
});

test("within a run, what did not change is the same", () => {
  const { views, take } = watching();
  take(["agent_started", "a"], ["tool_executing", "a", { tool_call_id: "t", tool: "search", args: { q: 1 } }], delta("a", "x"));
  const before = views.snapshot.runs.get("a");
  take(delta("a", "y"));
  const after = views.snapshot.runs.get("a");
  assert.equal(after.tools, before.tools);
  assert.equal(after.items[0], before.items[0]);
  assert.equal(after.requests, before.requests);
  assert.notEqual(after.messages, before.messages);
  assert.equal(after.items[1], after.messages[0], "one object, wherever it is found");
});

test("nothing changed, nothing is new", () => {
  const { views, take, runs } = watching();
  take(["agent_started", "a"], delta("a", "x"));
  const before = views.snapshot;
  assert.equal(views.take([runs.get("a")], runs), false);
  assert.equal(views.take([], runs), false);
  const live = () => ({ state: "live", detail: {}, user: { tenant: "t", user: "u" }, device: "d", replay: false });
  assert.equal(views.connect(live()), true);
  const connected = views.snapshot;
  assert.equal(views.connect(live()), false);
  assert.equal(views.snapshot, connected);
  assert.equal(connected.timeline, before.timeline);
});

test("what is given can't be changed", () => {
  const { views, take } = watching();
  take(["agent_started", "a"], delta("a", "x"), ["user_message", "", { text: "hello" }]);
  const { timeline } = views.snapshot;
  for (const each of [views.snapshot, timeline, ...timeline, timeline[0].items, timeline[0].items[0]]) assert.ok(Object.isFrozen(each));
});

test("lists of sub-agents and of open runs change with what they hold", () => {
  const { views, take } = watching();
  take(["agent_started", "p"], ["agent_started", "c", {}, { parent_run_id: "p" }], ["agent_started", "q"]);
  const before = views.snapshot;
  assert.deepEqual([before.roots, before.open, before.children.get("p")].map((list) => list.map(({ id }) => id)), [["p", "q"], ["p", "c", "q"], ["c"]]);
  take(delta("q", "x"));
  assert.equal(views.snapshot.children.get("p"), before.children.get("p"));
  assert.notEqual(views.snapshot.roots, before.roots);
  take(["agent_completed", "c"]);
  assert.deepEqual(views.snapshot.open.map(({ id }) => id), ["p", "q"]);
  assert.equal(views.snapshot.children.get("p")[0].status, "completed");
});

test("what the client forgets is forgotten, and after a reset there is nothing", () => {
  const { views, take, runs } = watching(2);
  take(["agent_started", "a"], ["agent_started", "b"]);
  take(["agent_started", "c"]);
  assert.deepEqual([...views.snapshot.runs.keys()], ["b", "c"]);
  runs.reset();
  views.take([], runs);
  assert.deepEqual([views.snapshot.timeline.length, views.snapshot.runs.size, views.snapshot.open.length], [0, 0, 0]);
});

test("a further attempt replaces what the first one showed", () => {
  const { views, take } = watching();
  take(["agent_started", "a"], delta("a", "old"));
  take(["agent_started", "a", {}, { attempt: 2 }]);
  assert.deepEqual([views.snapshot.runs.get("a").attempt, views.snapshot.runs.get("a").items.length], [2, 0]);
});

test("before anything there is nothing", () => {
  assert.deepEqual([NOTHING.state, NOTHING.timeline.length, NOTHING.runs.size], ["connecting", 0, 0]);
});
