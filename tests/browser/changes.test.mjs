/** What is told once a frame, what a loop takes, and the tree of runs. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Changes, pageFrames } from "../../edge/runcast/edge/static/client/changes.js";
import { complete, Runs } from "../../edge/runcast/edge/static/client/runs.js";
import { Taking } from "../../edge/runcast/edge/static/client/taking.js";

function drawn() {
  const frames = [];
  const told = [];
  const changes = new Changes((draw) => frames.push(draw), (entries, reset) => told.push([entries.map(({ id }) => id), reset]));
  return { changes, frames, told, draw: () => frames.shift()() };
}

test("a frame is asked for once, and is told each entry once", () => {
  const { changes, frames, told, draw } = drawn();
  const [a, b] = [{ id: "a" }, { id: "b" }];
  for (const entry of [a, b, a, a]) changes.add(entry);
  assert.equal(frames.length, 1);
  draw();
  assert.deepEqual(told, [[["a", "b"], false]]);
  changes.add(b);
  draw();
  assert.deepEqual(told[1], [["b"], false]);
});

test("a reset drops what was to be told, and says so, once", () => {
  const { changes, told, draw } = drawn();
  changes.add({ id: "a" });
  changes.reset();
  changes.add({ id: "b" });
  draw();
  changes.add({ id: "b" });
  draw();
  assert.deepEqual(told, [
    [["b"], true],
    [["b"], false],
  ]);
});

test("without frames a timer serves", async () => {
  await new Promise((resolve) => pageFrames(1)(() => resolve()));
});

test("a batch is handled when all of it was taken and done, in the order of the stream", () => {
  const taking = new Taking();
  taking.add("p1", ["x"]);
  assert.deepEqual(taking.handled(), ["p1"], "nobody loops");
  taking.begin();
  taking.add("p2", ["a", "b"]);
  taking.add("p3", []);
  taking.add("p4", ["c"]);
  const [a, b, c] = [taking.take(), taking.take(), taking.take()];
  assert.deepEqual([a.change, b.change, c.change, taking.take()], ["a", "b", "c", undefined]);
  taking.done(c.lot);
  taking.done(a.lot);
  assert.deepEqual(taking.handled(), []);
  taking.done(b.lot);
  assert.deepEqual(taking.handled(), ["p2", "p3", "p4"]);
  assert.deepEqual(taking.handled(), []);
});

test("after a reset nothing of before counts", () => {
  const taking = new Taking();
  taking.begin();
  taking.add("p1", ["a", "b"]);
  const { lot } = taking.take();
  taking.reset();
  taking.add("q1", ["c"]);
  taking.done(lot);
  assert.deepEqual(taking.handled(), []);
  assert.equal(taking.take().change, "c");
});

function tree(...links) {
  const runs = new Runs(100);
  for (const [run_id, parent_run_id = ""] of links) runs.apply(complete({ id: run_id, kind: "agent_started", run_id, attempt: 1, seq: 1, parent_run_id }));
  const below = (run) => [run.id, ...runs.children(run.id).map(below)];
  return runs.roots.map(below);
}

test("runs stand below what started them, whichever was seen first", () => {
  assert.deepEqual(tree(["a"], ["b", "a"], ["c", "b"], ["d", "a"]), [["a", ["b", ["c"]], ["d"]]]);
  assert.deepEqual(tree(["c", "b"], ["b", "a"], ["a"]), [["a", ["b", ["c"]]]]);
  assert.deepEqual(tree(["b", "gone"]), [["b"]]);
});

test("a circle that agents claim is cut", () => {
  assert.deepEqual(tree(["a", "a"]), [["a"]]);
  assert.deepEqual(tree(["a", "c"], ["b", "a"], ["c", "b"]), [["c", ["a", ["b"]]]]);
});

test("what is forgotten leaves the tree", () => {
  const runs = new Runs(2);
  for (const [run_id, parent_run_id] of [["a", ""], ["b", "a"], ["c", "a"]])
    runs.apply(complete({ id: run_id, kind: "agent_started", run_id, attempt: 1, seq: 1, parent_run_id }));
  assert.deepEqual(runs.roots.map(({ id }) => id), ["b", "c"]);
});
