/** The reducer: what each kind shows, and that order, repeats, merged text and retried runs come out the same on every device. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { complete, ended, openRequests, Runs } from "../../edge/runcast/edge/static/client/runs.js";
import { seeded } from "./model.mjs";

/** An event of run `r`, attempt 1 unless told otherwise. */
function event(seq, kind, data = {}, { run = "r", attempt = 1 } = {}) {
  return complete({ id: `${run}.${attempt}.${seq}`, kind, run_id: run, attempt, seq, time_unix_ms: 1_000 + seq, agent: "demo", data });
}

function said(id, text = "?") {
  return complete({ id, kind: "user_message", data: { text, device: "tab", group: "demo" } });
}

function applied(...events) {
  const runs = new Runs(100);
  for (const each of events) runs.apply(each);
  return runs;
}

describe("what each kind shows", () => {
  test("a whole run", () => {
    const runs = applied(
      said("q", "How?"),
      event(1, "agent_started", { title: "How?", reply_to: "q", input: { a: 1 } }),
      event(2, "agent_thinking", { text: "Looking", progress: 0, step: 1, steps: 3 }),
      event(3, "tool_executing", { tool_call_id: "c", tool: "search", args: { query: "x" }, purpose: "Find it" }),
      event(4, "tool_completed", { tool_call_id: "c", tool: "search", status: "ok", result: [1], duration_ms: 12 }),
      event(5, "agent_response", { message_id: "m", text: "So ", mode: "delta" }),
      event(6, "agent_response", { message_id: "m", text: "it is", mode: "delta", final: true }),
    );
    const run = runs.get("r");
    assert.deepEqual(
      runs.timeline.map((entry) => entry.id),
      ["q", "r"],
    );
    assert.deepEqual([run.title, run.replyTo, run.status, run.agent], ["How?", "q", "running", "demo"]);
    assert.deepEqual(run.thinking, { text: "Looking", progress: 0, step: 1, steps: 3, urgency: "normal", remainingMs: null });
    assert.deepEqual(
      run.items.map((item) => item.type),
      ["tool", "message"],
    );
    const { purpose, args, status, result, durationMs, startedAt } = run.tools[0];
    assert.deepEqual([purpose, args, status, result, durationMs, startedAt], ["Find it", { query: "x" }, "ok", [1], 12, 1003]);
    assert.deepEqual(run.messages, [{ type: "message", id: "m", text: "So it is", final: true }]);
    assert.deepEqual(runs.open, [run]);
    runs.apply(event(7, "agent_completed", { summary: "Done", result: { n: 1 } }));
    assert.deepEqual([run.status, run.summary, run.result, run.endedAt, run.thinking], ["completed", "Done", { n: 1 }, 1007, null]);
    assert.deepEqual(runs.open, []);
  });

  for (const [kind, data, status] of [
    ["agent_completed", {}, "completed"],
    ["run_cancelled", { reason: "stop" }, "cancelled"],
    ["run_lost", { reason: "gone" }, "lost"],
    ["agent_error", { severity: "fatal", message: "no" }, "failed"],
  ]) {
    test(`${kind} ends the run as ${status}; nothing follows`, () => {
      const runs = applied(event(1, "agent_started"), event(2, kind, data));
      const run = runs.get("r");
      assert.equal(run.status, status);
      assert.ok(ended(run));
      assert.equal(runs.apply(event(3, "agent_response", { text: "late" })), null);
      assert.deepEqual(run.messages, []);
    });
  }

  test("an error that is not fatal is shown, and the run goes on", () => {
    const runs = applied(event(1, "agent_started"), event(2, "agent_error", { severity: "recoverable", message: "slow", retrying: true }));
    assert.equal(runs.get("r").status, "running");
    assert.deepEqual([runs.get("r").errors[0].message, runs.get("r").errors[0].retrying], ["slow", true]);
  });

  test("a run that is lost leaves its tools lost", () => {
    const runs = applied(event(1, "agent_started"), event(2, "tool_executing", { tool_call_id: "c", tool: "t" }), event(3, "run_lost"));
    assert.equal(runs.get("r").tools[0].status, "lost");
  });

  test("whole text replaces, deltas append", () => {
    const runs = applied(
      event(1, "agent_started"),
      event(2, "agent_response", { message_id: "m", text: "draft", mode: "delta" }),
      event(3, "agent_response", { message_id: "m", text: "final text", mode: "whole", final: true }),
    );
    assert.deepEqual(runs.get("r").messages, [{ type: "message", id: "m", text: "final text", final: true }]);
  });

  test("a run that asks waits until it goes on", () => {
    const runs = applied(event(1, "agent_started"), event(2, "input_requested", { request_id: "q", type: "choice", options: ["a", "b"] }));
    assert.equal(runs.get("r").status, "waiting");
    assert.deepEqual(runs.get("r").items[0].options, ["a", "b"]);
    runs.apply(event(3, "agent_thinking", { text: "thanks" }));
    assert.equal(runs.get("r").status, "running");
  });

  test("questions are dropped when they are settled, and when their run ends", () => {
    const runs = applied(
      event(1, "agent_started"),
      event(2, "input_requested", { request_id: "a", type: "approval" }),
      event(3, "input_requested", { request_id: "b", type: "question" }),
    );
    const open = () => openRequests(runs.get("r")).map((request) => request.requestId);
    assert.deepEqual(open(), ["a", "b"]);
    const change = runs.apply(event(4, "input_resolved", { request_id: "a", outcome: "answered", value: false, device: "tab-2" }));
    assert.deepEqual([change.item.status, change.item.value, change.item.device], ["answered", false, "tab-2"]);
    assert.deepEqual([open(), runs.get("r").status], [["b"], "waiting"]);
    runs.apply(event(5, "agent_completed"));
    assert.deepEqual([open(), runs.get("r").requests[1].status], [[], "withdrawn"]);
  });

  test("custom and unknown kinds pass through", () => {
    const runs = applied(event(1, "agent_started"));
    assert.deepEqual(runs.apply(event(2, "custom", { name: "chart", data: [1] })).item, { type: "custom", name: "chart", data: [1] });
    assert.equal(runs.apply(event(3, "unknown", { raw: "AA==" })).item, null);
    assert.equal(runs.get("r").seq, 3);
  });
});

describe("readers that were not there all the time", () => {
  test("a repeat changes nothing", () => {
    const events = [said("q"), event(1, "agent_started"), event(2, "agent_response", { message_id: "m", text: "a", mode: "delta" })];
    const runs = applied(...events);
    const before = structuredClone(runs.timeline);
    for (const each of events) assert.equal(runs.apply(each), null);
    assert.deepEqual(runs.timeline, before);
  });

  test("a higher attempt replaces what the lower one showed, in its place; what still comes of the lower is dropped", () => {
    const runs = applied(
      event(1, "agent_started", { title: "first" }),
      event(2, "agent_response", { message_id: "m", text: "half", mode: "delta" }),
      event(1, "agent_started", {}, { run: "other" }),
      event(1, "agent_started", { title: "second" }, { attempt: 2 }),
    );
    assert.equal(runs.apply(event(3, "agent_response", { message_id: "m", text: " an answer", mode: "delta" })), null);
    assert.deepEqual([runs.get("r").title, runs.get("r").messages, runs.get("r").attempt], ["second", [], 2]);
    assert.deepEqual(
      runs.timeline.map((entry) => entry.id),
      ["r", "other"],
    );
  });

  test("a run that was lost may be tried again", () => {
    const runs = applied(event(1, "agent_started"), event(2, "run_lost"), event(1, "agent_started", {}, { attempt: 2 }));
    assert.equal(runs.get("r").status, "running");
  });

  test("joining in the middle shows what there is", () => {
    const runs = applied(event(7, "tool_completed", { tool_call_id: "c", tool: "t", status: "ok" }), event(8, "agent_completed"));
    assert.deepEqual([runs.get("r").tools[0].status, runs.get("r").status], ["ok", "completed"]);
  });

  test("a reset leaves nothing", () => {
    const runs = applied(said("q"), event(1, "agent_started"));
    runs.reset();
    assert.deepEqual([runs.timeline, runs.open, runs.get("r")], [[], [], undefined]);
    assert.notEqual(runs.apply(said("q")), null);
  });

  test("past the bound the oldest entries go, and are counted", () => {
    const runs = new Runs(3);
    for (let index = 0; index < 5; index += 1) runs.apply(event(1, "agent_started", {}, { run: `r${index}` }));
    assert.deepEqual(
      runs.timeline.map((entry) => entry.id),
      ["r2", "r3", "r4"],
    );
    assert.deepEqual([runs.forgotten, runs.get("r0")], [2, undefined]);
  });
});

describe("random streams", () => {
  /** A stream of several runs, interleaved, some retried, with what each should show at its end. */
  function stream(random) {
    const live = [];
    const events = [];
    for (let index = 0; index < 6; index += 1) live.push({ run: `r${index}`, attempt: 1, seq: 0, text: "", over: false });
    while (live.some((run) => !run.over)) {
      const run = live[Math.floor(random() * live.length)];
      if (run.over) continue;
      run.seq += 1;
      const emit = (kind, data) => events.push(event(run.seq, kind, data, run));
      const dice = random();
      if (run.seq === 1) emit("agent_started", {});
      else if (dice < 0.7) {
        const piece = String.fromCharCode(97 + Math.floor(random() * 26));
        run.text += piece;
        emit("agent_response", { message_id: "m", text: piece, mode: "delta" });
      } else if (dice < 0.85) emit("agent_thinking", { text: "hm", progress: random() });
      else if (dice < 0.9 && run.attempt < 3) Object.assign(run, { attempt: run.attempt + 1, seq: 0, text: "" });
      else if (run.seq > 5) {
        emit("agent_completed", {});
        run.over = true;
      }  else run.seq -= 1;
    }
    return { events, live };
  }

  /** What an edge may do for a device that is behind: deltas of one message merge, the older of two progresses goes. */
  function conflated(events, random) {
    const out = [];
    for (const each of events) {
      const last = out.at(-1);
      const same = last?.run_id === each.run_id && last.attempt === each.attempt && last.kind === each.kind && random() < 0.7;
      if (same && each.kind === "agent_thinking") out[out.length - 1] = each;
      else if (same && each.kind === "agent_response") {
        out[out.length - 1] = { ...each, data: { ...each.data, text: last.data.text + each.data.text } };
      } else out.push(each);
    }
    return out;
  }

  for (let seed = 1; seed <= 100; seed += 1) {
    test(`seed ${seed}: repeats and merging change nothing of what is shown`, () => {
      const random = seeded(seed);
      const { events, live } = stream(random);
      const once = applied(...events);
      for (const run of live) {
        assert.equal(once.get(run.run).messages[0]?.text ?? "", run.text);
        assert.equal(once.get(run.run).status, "completed");
      }
      const repeated = events.flatMap((each, index) => (random() < 0.2 ? [each, ...events.slice(Math.max(0, index - 3), index + 1)] : [each]));
      assert.deepEqual(applied(...repeated).timeline, once.timeline);
      assert.deepEqual(applied(...conflated(events, random)).timeline, once.timeline);
    });
  }
});
