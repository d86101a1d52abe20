/** The session machine: its table, each rule of the protocol, and random histories judged by what was applied. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { LIMITS } from "../../edge/runcast/edge/static/client/limits.js";
import { notAfter } from "../../edge/runcast/edge/static/client/position.js";
import { comesBack, Session, TABLE } from "../../edge/runcast/edge/static/client/session.js";
import { batch, liveSession, position, taken, welcome, World } from "./model.mjs";

const SMALL_WINDOW = { frame_bytes_max: 65536, window_events: 8, window_bytes: 2097152, ping_interval_ms: 20000 };

function events(count) {
  return Array.from({ length: count }, (_, index) => ({ id: String(index), kind: "custom" }));
}

/** How each input of the table is brought about. */
const INPUTS = {
  due: (session) => session.tick(1e6),
  opened: (session) => session.opened(1e6),
  caught_up: (session) => (session.state === "behind" ? session.handled(position(1), 1e6) : session.receive(welcome(), 0, 1e6)),
  fell_behind: (session) => {
    if (session.state === "resuming") session.receive(welcome({ tip: position(9) }), 0, 1e6);
    session.receive(batch(position(0), position(1), events(400)), 0, 1e6);
    session.receive(batch(position(1), position(2)), 0, 1e6);
  },
  dropped: (session) => session.closed(1006, "", 1e6),
  barred: (session) => session.closed(4501, "", 1e6),
  stopped: (session) => session.close(),
};

/** A session in each state of the table. */
const IN_STATE = {
  offline: () => {
    const session = IN_STATE.connecting();
    session.closed(1006, "", 0);
    return session;
  },
  connecting: () => {
    const session = new Session({ device: "tab", from: "earliest", random: () => 0.5 });
    session.start(0);
    return session;
  },
  resuming: () => {
    const session = IN_STATE.connecting();
    session.opened(0);
    return session;
  },
  live: () => liveSession(),
  behind: () => {
    const session = liveSession({ limits: SMALL_WINDOW });
    session.receive(batch(position(0), position(1), events(4)), 0, 0);
    session.receive(batch(position(1), position(2)), 0, 0);
    return session;
  },
  closed: () => {
    const session = liveSession();
    session.close();
    return session;
  },
};

describe("the table", () => {
  for (const [state, row] of Object.entries(TABLE)) {
    for (const [input, give] of Object.entries(INPUTS)) {
      // Time passing is an input of every state: elsewhere it is what the timeouts below are about.
      if (input === "due" && state !== "offline") continue;
      const next = row[input] ?? state;
      test(`${state}, ${input}: ${next}`, () => {
        const session = IN_STATE[state]();
        assert.equal(session.state, state);
        give(session);
        assert.equal(session.state, next);
      });
    }
  }
});

describe("resuming", () => {
  for (const from of ["", "earliest", "latest", position(7)]) {
    test(`hello carries ${JSON.stringify(from)}`, () => {
      const session = new Session({ device: "tab", from, random: () => 0 });
      session.start(0);
      session.opened(0);
      assert.deepEqual(JSON.parse(JSON.stringify(taken(session, "transmit")[0].frame)), { type: "hello", device: "tab", position: from });
    });
  }

  test("after a break, hello carries the position held, whatever it began with", () => {
    const session = new Session({ device: "tab", from: "latest", random: () => 0 });
    session.start(0);
    session.opened(0);
    session.receive(welcome({ position: position(4), tip: position(4) }), 0, 0);
    session.receive(batch(position(4), position(9)), 10, 0);
    session.closed(1006, "", 0);
    session.tick(0);
    session.takeEffects();
    session.opened(0);
    assert.equal(taken(session, "transmit")[0].frame.position, position(9));
  });

  test("it is live when it reaches the tip of the welcome, not before", () => {
    const session = IN_STATE.resuming();
    session.receive(welcome({ tip: position(2) }), 0, 0);
    assert.equal(session.state, "resuming");
    session.receive(batch(position(0), position(1)), 10, 0);
    assert.equal(session.state, "resuming");
    session.receive(batch(position(1), position(2)), 10, 0);
    assert.equal(session.state, "live");
  });

  test("a reset drops what is held, says why, and goes on from where the edge begins", () => {
    const session = IN_STATE.resuming();
    const fresh = position(0, "zzzzzzzz");
    session.receive(welcome({ outcome: "reset", reason: "expired", position: fresh, tip: fresh }), 0, 0);
    const effects = session.takeEffects();
    assert.deepEqual(
      effects.filter((effect) => effect.do === "reset"),
      [{ do: "reset", reason: "expired" }],
    );
    assert.deepEqual(
      effects.filter((effect) => effect.do === "store"),
      [{ do: "store", pos: fresh, force: true }],
    );
    assert.equal(session.position, fresh);
  });

  test("a welcome that would skip something in silence is a gap", () => {
    const session = new Session({ device: "tab", from: position(5), random: () => 0.5 });
    session.start(0);
    session.opened(0);
    session.receive(welcome({ position: position(8), tip: position(9) }), 0, 0);
    assert.equal(session.state, "offline");
    assert.equal(session.position, position(5));
  });
});

describe("the chain", () => {
  test("a batch whose prev is held is delivered", () => {
    const session = liveSession({ held: position(3) });
    session.receive(batch(position(3), position(8)), 10, 0);
    assert.deepEqual(
      taken(session, "deliver").map((effect) => effect.pos),
      [position(8)],
    );
  });

  test("a repeat is dropped, and acknowledged once more", () => {
    const session = liveSession({ held: position(3) });
    session.receive(batch(position(1), position(3)), 10, 0);
    assert.deepEqual(session.takeEffects(), []);
    session.tick(LIMITS.ackIntervalMs);
    assert.deepEqual(taken(session, "transmit"), [{ do: "transmit", frame: { type: "ack", pos: position(3) } }]);
    assert.equal(session.counts.repeats, 1);
  });

  test("only what this connection brought is acknowledged on it", () => {
    const session = new Session({ device: "tab", from: position(9), random: () => 0 });
    session.start(0);
    session.opened(0);
    session.receive(welcome({ position: position(5), tip: position(9) }), 0, 0);
    session.receive(batch(position(5), position(7)), 10, 0);
    session.tick(LIMITS.ackIntervalMs);
    assert.equal(taken(session, "transmit").at(-1).frame.pos, position(7));
    assert.equal(session.position, position(9));
  });

  for (const [name, prev, pos] of [
    ["a hole", position(4), position(5)],
    ["an overlap", position(2), position(5)],
    ["another epoch", position(0, "zzzzzzzz"), position(1, "zzzzzzzz")],
    ["another epoch with a lower number", position(0, "aaaaaaaa"), position(1, "aaaaaaaa")],
  ]) {
    test(`${name} is a gap: nothing is delivered, and it comes back from the position held`, () => {
      const session = liveSession({ held: position(3) });
      session.receive(batch(prev, pos), 10, 0);
      assert.deepEqual(
        session.takeEffects().map((effect) => effect.do),
        ["disconnect", "state"],
      );
      assert.equal(session.state, "offline");
      assert.equal(session.position, position(3));
      assert.equal(session.counts.gaps, 1);
    });
  }

  test("positions compare within an epoch only", () => {
    assert.ok(notAfter(position(3), position(3)));
    assert.ok(notAfter(position(3), position(10)));
    assert.ok(!notAfter(position(10), position(3)));
    assert.ok(!notAfter(position(1, "aaaaaaaa"), position(3)));
    assert.ok(!notAfter("", position(3)));
  });

  for (const [name, frame] of [
    ["null", null],
    ["no type", {}],
    ["a batch without events", { type: "batch", prev: position(0), pos: position(1) }],
  ]) {
    test(`${name} is no frame: it connects again`, () => {
      const session = liveSession();
      session.receive(frame, 0, 0);
      assert.equal(session.state, "offline");
    });
  }

  test("a frame of an unknown type is left to newer clients", () => {
    const session = liveSession();
    session.receive({ type: "confetti" }, 0, 0);
    assert.equal(session.state, "live");
    assert.deepEqual(session.takeEffects(), []);
  });
});

describe("acknowledgements", () => {
  test("nothing is acknowledged before it was handled", () => {
    const session = liveSession();
    session.receive(batch(position(0), position(1)), 10, 0);
    session.tick(10_000);
    assert.deepEqual(taken(session, "transmit"), []);
    session.handled(position(1), 10_000);
    session.tick(10_000 + LIMITS.ackIntervalMs);
    assert.deepEqual(taken(session, "transmit"), [{ do: "transmit", frame: { type: "ack", pos: position(1) } }]);
  });

  test("what was handled is acknowledged again behind a resumption, and what was not is not", () => {
    for (const [handled, pos] of [
      [true, position(1)],
      [false, undefined],
    ]) {
      const session = liveSession();
      session.receive(batch(position(0), position(1)), 10, 0);
      if (handled) session.handled(position(1), 0);
      session.closed(1006, "", 0);
      session.tick(LIMITS.backoffFirstMs);
      session.opened(LIMITS.backoffFirstMs);
      session.takeEffects();
      session.receive(welcome({ position: position(1), tip: position(1) }), 0, LIMITS.backoffFirstMs);
      session.tick(LIMITS.backoffFirstMs + LIMITS.ackIntervalMs);
      assert.equal(taken(session, "transmit").at(-1)?.frame.pos, pos);
    }
  });

  test("one serves for all that were handled meanwhile", () => {
    const session = liveSession();
    for (let seq = 0; seq < 10; seq += 1) {
      session.receive(batch(position(seq), position(seq + 1)), 10, seq);
      session.handled(position(seq + 1), seq);
    }
    session.tick(LIMITS.ackIntervalMs);
    assert.deepEqual(
      taken(session, "transmit").map((effect) => effect.frame),
      [{ type: "ack", pos: position(10) }],
    );
  });

  test(`${LIMITS.ackEvents} events are acknowledged at once`, () => {
    const session = liveSession();
    const events = Array.from({ length: LIMITS.ackEvents }, (_, index) => ({ id: String(index), kind: "custom" }));
    session.receive(batch(position(0), position(1), events), 10, 0);
    session.handled(position(1), 0);
    assert.equal(taken(session, "transmit").length, 1);
  });

  test("the window is never half used without an acknowledgement", () => {
    const limits = { frame_bytes_max: 65536, window_events: 20, window_bytes: 8_000, ping_interval_ms: 20_000 };
    for (const [events, size] of [
      [9, 10],
      [1, 3_900],
    ]) {
      const session = liveSession({ limits });
      session.receive(batch(position(0), position(1), Array(events).fill({ id: "x", kind: "custom" })), size, 0);
      session.handled(position(1), 0);
      assert.equal(taken(session, "transmit").length, 1, `${events} events, ${size} bytes`);
    }
  });

  test("what is owed is said before an orderly end, and stored after a break", () => {
    const session = liveSession();
    session.receive(batch(position(0), position(1)), 10, 0);
    session.handled(position(1), 0);
    session.takeEffects();
    session.close();
    assert.deepEqual(
      session.takeEffects().map((effect) => effect.do),
      ["transmit", "store", "disconnect", "state"],
    );
    const broken = liveSession();
    broken.receive(batch(position(0), position(1)), 10, 0);
    broken.handled(position(1), 0);
    broken.closed(1006, "", 0);
    assert.deepEqual(taken(broken, "store"), [{ do: "store", pos: position(1), force: false }]);
  });
});

describe("sends", () => {
  const send = (id, text = "hello") => ({ type: "send", id, kind: "message", group: "demo", text });
  const ids = (session) =>
    taken(session, "transmit")
      .filter((effect) => effect.frame.type === "send")
      .map((effect) => effect.frame.id);

  test("what is sent before the welcome goes out after it, in order", () => {
    const session = IN_STATE.resuming();
    session.send(send("a"), 0);
    session.send(send("b"), 0);
    assert.deepEqual(ids(session), []);
    session.receive(welcome(), 0, 0);
    assert.deepEqual(ids(session), ["a", "b"]);
  });

  test("the unanswered go out again after a reconnect, with the same id; the answered do not", () => {
    const session = liveSession();
    session.send(send("a"), 0);
    session.send(send("b"), 0);
    session.receive({ type: "sent", id: "a" }, 0, 0);
    session.closed(1006, "", 0);
    session.tick(5_000);
    session.opened(5_000);
    session.takeEffects();
    session.receive(welcome({ position: position(0) }), 0, 5_000);
    assert.deepEqual(ids(session), ["b"]);
    session.receive({ type: "sent", id: "b", duplicate: true }, 0, 5_000);
    assert.deepEqual(taken(session, "sent"), [{ do: "sent", id: "b", duplicate: true }]);
    assert.equal(session.unanswered, 0);
  });

  test("an answer that comes twice counts once", () => {
    const session = liveSession();
    session.send(send("a"), 0);
    session.receive({ type: "sent", id: "a" }, 0, 0);
    session.receive({ type: "sent", id: "a", duplicate: true }, 0, 0);
    assert.equal(taken(session, "sent").length, 1);
  });

  test(`at most ${LIMITS.sendsInFlightMax} are on the wire`, () => {
    const session = liveSession();
    for (let index = 0; index < LIMITS.sendsInFlightMax + 3; index += 1) session.send(send(`s${index}`), 0);
    assert.equal(ids(session).length, LIMITS.sendsInFlightMax);
    session.receive({ type: "sent", id: "s0" }, 0, 0);
    assert.deepEqual(ids(session), [`s${LIMITS.sendsInFlightMax}`]);
  });

  test("one that is to be retried waits as long as the edge says, and holds those behind it", () => {
    const session = liveSession();
    session.send(send("a"), 0);
    session.receive({ type: "error", id: "a", code: "rate_limited", message: "", retry: true, retry_after_ms: 700 }, 0, 0);
    session.send(send("b"), 0);
    session.takeEffects();
    session.tick(699);
    assert.deepEqual(ids(session), []);
    assert.equal(session.deadline(), 700);
    session.tick(700);
    assert.deepEqual(ids(session), ["a", "b"]);
  });

  test("one that is refused ends so", () => {
    const session = liveSession();
    session.send(send("a"), 0);
    session.receive({ type: "error", id: "a", code: "send_invalid", message: "no group" }, 0, 0);
    const error = { code: "send_invalid", message: "no group", id: "a", retry: false, definite: true };
    assert.deepEqual(taken(session, "refused"), [{ do: "refused", id: "a", error }]);
    assert.equal(session.unanswered, 0);
  });

  test("one too large for a frame is refused here, since the edge would end the session for good", () => {
    const session = liveSession();
    session.send(send("a", "ü".repeat(40_000)), 0);
    assert.equal(taken(session, "refused")[0].error.code, "send_too_large");
    assert.equal(session.unanswered, 0);
  });

  test("more than the outbox holds are refused", () => {
    const session = IN_STATE.offline();
    for (let index = 0; index < LIMITS.sendsMax; index += 1) session.send(send(`s${index}`), 0);
    assert.deepEqual(taken(session, "refused"), []);
    session.send(send("one more"), 0);
    assert.equal(taken(session, "refused")[0].error.code, "outbox_full");
  });

  test("past the horizon a send that may have been stored is indeterminate; one that never went out waits on", () => {
    const session = liveSession();
    session.send(send("a"), 0);
    session.closed(1006, "", 10);
    session.send(send("b"), 20);
    session.takeEffects();
    session.tick(LIMITS.resendHorizonMs);
    const [{ id, error }] = taken(session, "refused");
    assert.deepEqual([id, error.code, error.definite], ["a", "indeterminate", false]);
    assert.equal(session.unanswered, 1);
  });

  test("the horizon counts from the first transmission, however often it was repeated", () => {
    const session = liveSession();
    session.send(send("a"), 0);
    session.takeEffects();
    for (let now = 0; now < LIMITS.resendHorizonMs; now += 10_000) {
      session.closed(1006, "", now);
      session.tick(now + 5_000);
      session.opened(now + 5_000);
      session.receive(welcome(), 0, now + 5_000);
      assert.deepEqual(ids(session), ["a"]);
    }
    session.tick(LIMITS.resendHorizonMs);
    assert.equal(taken(session, "refused").length, 1);
  });

  test("refusals that are definite do not run into the horizon", () => {
    const session = liveSession();
    session.send(send("a"), 0);
    session.receive({ type: "error", id: "a", code: "storage_full", message: "", retry: true, retry_after_ms: 200_000 }, 0, 0);
    session.takeEffects();
    session.receive({ type: "pong" }, 0, LIMITS.resendHorizonMs + 1);
    session.tick(LIMITS.resendHorizonMs + 1);
    assert.deepEqual(session.takeEffects(), []);
    session.receive({ type: "pong" }, 0, 200_000);
    session.tick(200_000);
    assert.deepEqual(ids(session), ["a"]);
  });

  test("closing rejects what is unanswered, and says whether it may have been stored", () => {
    const session = liveSession();
    session.send(send("a"), 0);
    session.closed(4501, "token expired", 0);
    const [{ error }] = taken(session, "refused");
    assert.deepEqual([error.code, error.definite], ["closed", false]);
    session.send(send("b"), 0);
    assert.deepEqual(taken(session, "refused")[0].error.definite, true);
  });
});

describe("coming back", () => {
  test("close codes count by their range", () => {
    for (const code of [1000, 1001, 1006, 1011, 1012, 4000, 4001, 4013, 4029, 4499]) assert.ok(comesBack(code), String(code));
    for (const code of [1009, 4500, 4501, 4506, 4999]) assert.ok(!comesBack(code), String(code));
  });

  test("an operator's disconnect is come back from, a revocation is not, and both keep the position", () => {
    for (const [code, state] of [
      [4013, "offline"],
      [4506, "closed"],
    ]) {
      const session = liveSession();
      const position = session.position;
      session.closed(code, "an operator has ended this access: stolen laptop", 0);
      assert.equal(session.state, state);
      assert.equal(session.position, position);
      session.tick(1e6);
      assert.equal(session.state, code === 4013 ? "connecting" : "closed");
    }
  });

  test("waits double up to the bound, with full jitter", () => {
    for (const [random, share] of [
      [() => 0, 0],
      [() => 0.5, 0.5],
      [() => 0.999, 0.999],
    ]) {
      const session = new Session({ device: "tab", from: "", random });
      session.start(0);
      const waits = [];
      for (let now = 0; waits.length < 8; now = session.deadline()) {
        session.tick(now);
        session.closed(1006, "", now);
        waits.push(session.deadline() - now);
      }
      const expected = [100, 200, 400, 800, 1600, 2000, 2000, 2000].map((wait) => wait * share);
      waits.forEach((wait, index) => assert.ok(Math.abs(wait - expected[index]) < 1e-6, `${wait} for ${expected[index]}`));
    }
  });

  test("a batch, or a session that lasted, starts the backoff anew", () => {
    const session = liveSession({ random: () => 1 });
    session.closed(1006, "", 0);
    session.tick(100);
    session.closed(1006, "", 100);
    assert.equal(session.deadline(), 300);
    session.tick(300);
    session.opened(300);
    session.receive(welcome(), 0, 300);
    session.receive(batch(position(0), position(1)), 10, 300);
    session.closed(1006, "", 300);
    assert.equal(session.deadline(), 400);
  });

  test("sessions that bring nothing but gaps come back ever more slowly", () => {
    const session = liveSession({ random: () => 1 });
    const waits = [];
    for (let now = 0; waits.length < 4; now = session.deadline()) {
      session.tick(now);
      session.opened(now);
      session.receive(welcome(), 0, now);
      session.receive(batch(position(5), position(6)), 10, now);
      waits.push(session.deadline() - now);
    }
    assert.deepEqual(waits, [100, 200, 400, 800]);
  });

  test("an edge that closes and says when to come back is not asked sooner, not even by a nudge", () => {
    const said = { type: "error", code: "rate_limited", message: "", retry: true, retry_after_ms: 5_000 };
    const session = liveSession();
    session.receive(said, 0, 0);
    session.closed(4029, "", 0);
    session.nudge(0);
    session.tick(4_999);
    assert.equal(session.state, "offline");
    session.tick(5_000 + LIMITS.backoffFirstMs);
    assert.equal(session.state, "connecting");
    // What was said of something else does not count when the line breaks.
    const other = liveSession();
    other.receive(said, 0, 0);
    other.closed(1006, "", 0);
    other.tick(LIMITS.backoffFirstMs);
    assert.equal(other.state, "connecting");
  });

  test("a draining edge is left when it says, without backoff, even if it goes first", () => {
    for (const goesFirst of [false, true]) {
      const session = liveSession();
      session.receive({ type: "drain", reconnect_in_ms: 1_500 }, 0, 0);
      session.receive(batch(position(0), position(1)), 10, 10);
      assert.equal(session.position, position(1));
      session.handled(position(1), 10);
      if (goesFirst) session.closed(1001, "", 500);
      session.tick(1_499);
      assert.equal(session.state, goesFirst ? "offline" : "live");
      session.tick(1_500);
      session.tick(1_500);
      assert.equal(session.state, "connecting");
    }
  });

  test("sockets that do not open, and edges that do not answer, are given up", () => {
    const session = IN_STATE.connecting();
    session.tick(LIMITS.connectTimeoutMs);
    assert.equal(session.state, "offline");
    const mute = IN_STATE.resuming();
    mute.tick(LIMITS.welcomeTimeoutMs);
    assert.equal(mute.state, "offline");
  });

  test("silence is asked about, then given up; any frame is an answer", () => {
    const session = liveSession();
    session.tick(19_999);
    assert.deepEqual(taken(session, "transmit"), []);
    session.tick(20_000);
    assert.deepEqual(taken(session, "transmit"), [{ do: "transmit", frame: { type: "ping" } }]);
    session.receive({ type: "pong" }, 0, 30_000);
    session.tick(50_000);
    assert.equal(taken(session, "transmit").length, 1);
    session.tick(69_999);
    assert.equal(session.state, "live");
    session.tick(70_000);
    assert.equal(session.state, "offline");
  });

  test("a page that wakes up asks at once instead of trusting a dead socket", () => {
    const session = liveSession();
    session.nudge(3_600_000);
    assert.equal(taken(session, "transmit").length, 1);
    assert.equal(session.deadline(), 3_600_000 + LIMITS.probeMs);
    const offline = IN_STATE.offline();
    offline.nudge(1);
    assert.ok(offline.deadline() <= 1 + LIMITS.backoffFirstMs);
  });

  test("the edge's last word explains why it stays closed, and is told once", () => {
    const session = liveSession();
    session.receive({ type: "error", code: "unauthenticated", message: "the token has expired; get another" }, 0, 0);
    session.closed(4501, "unauthenticated", 0);
    const effects = session.takeEffects();
    assert.deepEqual(
      effects.filter((effect) => effect.do === "error").map((effect) => effect.error.code),
      ["unauthenticated"],
    );
    assert.equal(effects.at(-1).detail.reason, "the token has expired; get another");
  });

  test("a position that the edge can't read is forgotten, or it would bar the next load too", () => {
    const session = liveSession();
    session.closed(4504, "", 0);
    assert.deepEqual(taken(session, "store"), [{ do: "store", pos: "", force: true }]);
  });
});

describe("random histories", () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    test(`seed ${seed}`, () => {
      const world = new World(seed);
      const said = [];
      for (let step = 0; step < 600; step += 1) {
        world.step();
        // In order, nothing twice, nothing left out: what was applied is always a prefix of the log, or of one that was wiped.
        if (world.session.position.startsWith(world.epoch)) assert.deepEqual(world.applied, world.log.slice(0, world.applied.length));
        if (step % 50 === 0) said.push(world.say());
      }
      world.calm();
      assert.deepEqual(world.applied, world.log);
      assert.equal(world.stored.get("position"), world.session.position);
      // Every send was confirmed once and stored once: these histories are shorter than the resend horizon.
      assert.deepEqual(world.refused, []);
      assert.equal(new Set(world.sent).size, world.sent.length);
      for (const id of said) assert.ok(world.sent.includes(id), id);
      for (const id of world.sent) assert.equal(world.inbox.get(id), 1);
      // Every change of state is one that the table allows.
      for (let index = 1; index < world.states.length; index += 1) {
        assert.ok(Object.values(TABLE[world.states[index - 1]]).includes(world.states[index]), world.states.slice(index - 1, index + 1).join());
      }
    });
  }
});

describe("snapshots", () => {
  const within = (number) => position(number, "snapshot");

  function asking(snapshot) {
    const session = new Session({ device: "tab", from: "earliest", random: () => 0.5, snapshot });
    session.start(0);
    session.opened(0);
    return session;
  }

  function hello(session) {
    return taken(session, "transmit").find(({ frame }) => frame.type === "hello").frame;
  }

  for (const [asked, later] of [
    [true, undefined],
    [false, false],
    [undefined, undefined],
  ]) {
    test(`asked with ${asked}: again until caught up once, then ${later}`, () => {
      const session = asking(asked);
      assert.equal(hello(session).snapshot, asked);
      session.receive(welcome({ outcome: "snapshot", position: within(0), tip: position(9) }), 0, 0);
      session.receive(batch(within(0), within(1)), 0, 0);
      assert.equal(session.state, "resuming");
      session.closed(1006, "", 0);
      session.takeEffects();
      session.tick(1e4);
      session.opened(1e4);
      const again = hello(session);
      assert.deepEqual([again.position, again.snapshot], [within(1), asked]);
      session.receive(welcome({ outcome: "snapshot", position: within(0), tip: position(9) }), 0, 1e4);
      session.receive(batch(within(0), position(9)), 0, 1e4);
      assert.equal(session.state, "live");
      session.closed(1006, "", 1e4);
      session.takeEffects();
      session.tick(2e4);
      session.opened(2e4);
      const last = hello(session);
      assert.deepEqual([last.position, last.snapshot], [position(9), later]);
    });
  }

  test("what is held goes, then the runs under way are told, then they come", () => {
    const session = asking(true);
    session.takeEffects();
    const runs = [{ run_id: "r", attempt: 1, seq: 7 }];
    session.receive(welcome({ outcome: "snapshot", position: within(0), tip: position(9), runs }), 0, 0);
    session.receive(batch(within(0), position(9)), 0, 0);
    const effects = session.takeEffects();
    assert.deepEqual(
      effects.map((effect) => effect.do),
      ["reset", "store", "snapshot", "deliver", "state"],
    );
    assert.deepEqual(effects[2].runs, runs);
  });
});

describe("an application that takes events one by one", () => {
  const window = { limits: SMALL_WINDOW };

  function acks(session) {
    return taken(session, "transmit").filter(({ frame }) => frame.type === "ack").map(({ frame }) => frame.pos);
  }

  /** A session of which the connection broke and came back while positions 1 to 3 were delivered and only 1 was handled. */
  function cameBack() {
    const session = liveSession(window);
    for (const seq of [1, 2, 3]) session.receive(batch(position(seq - 1), position(seq), events(2)), 0, 0);
    session.handled(position(1), 0);
    session.closed(1006, "", 0);
    session.tick(1e4);
    session.opened(1e4);
    session.receive(welcome({ position: position(3), tip: position(3), ...window }), 0, 1e4);
    session.takeEffects();
    return session;
  }

  test("an edge that begins at 3 is told nothing while 2 is all that was handled: it would take that for 3", () => {
    const session = cameBack();
    session.handled(position(2), 1e4);
    session.tick(1e4 + LIMITS.ackIntervalMs);
    assert.deepEqual(acks(session), []);
    session.receive(batch(position(1), position(2)), 0, 1e4);
    session.tick(1e4 + 2 * LIMITS.ackIntervalMs);
    assert.deepEqual(acks(session), [], "nor when 2 comes once more");
    session.handled(position(3), 1e4 + 200);
    session.tick(1e4 + 200 + LIMITS.ackIntervalMs);
    assert.deepEqual(acks(session), [position(3)]);
  });

  test("behind a snapshot the last piece's position is acknowledged when it was handled, not before", () => {
    const session = IN_STATE.resuming();
    const piece = (seq) => position(seq, "snapshot");
    session.receive(welcome({ outcome: "snapshot", position: piece(0), tip: position(9) }), 0, 0);
    session.receive(batch(piece(0), piece(1)), 0, 0);
    session.receive(batch(piece(1), position(9)), 0, 0);
    session.takeEffects();
    session.handled(piece(1), 0);
    session.tick(LIMITS.ackIntervalMs);
    assert.deepEqual(acks(session), []);
    session.handled(position(9), 200);
    session.tick(200 + LIMITS.ackIntervalMs);
    assert.deepEqual(acks(session), [position(9)]);
  });

  test("who takes nothing while it catches up is behind, until it has taken and is caught up", () => {
    const session = IN_STATE.resuming();
    session.receive(welcome({ limits: SMALL_WINDOW, tip: position(3) }), 0, 0);
    session.receive(batch(position(0), position(1), events(4)), 0, 0);
    assert.equal(session.state, "resuming", "its application has had no time yet");
    session.receive(batch(position(1), position(2), events(2)), 0, 0);
    assert.deepEqual(taken(session, "state").at(-1), { do: "state", state: "behind", detail: { reason: "untaken" } });
    for (const seq of [1, 2]) session.handled(position(seq), 0);
    assert.equal(session.state, "behind", "the stream goes on");
    session.receive(batch(position(2), position(3), events(4)), 0, 0);
    assert.equal(session.state, "behind");
    session.handled(position(3), 0);
    assert.equal(session.state, "live");
  });

  test("what is handled between two connections makes nothing live: only a welcome says where the stream is", () => {
    const session = liveSession();
    session.receive(batch(position(0), position(1)), 0, 0);
    session.closed(1006, "", 0);
    session.tick(1e6);
    session.opened(1e6);
    session.handled(position(1), 1e6);
    assert.equal(session.state, "resuming");
    session.receive(welcome({ position: position(1), tip: position(5000) }), 0, 1e6);
    assert.equal(session.state, "resuming");
  });

  test("whoever takes each batch before the next is never behind, however large they are", () => {
    const session = IN_STATE.resuming();
    session.receive(welcome({ limits: SMALL_WINDOW, tip: position(3) }), 0, 0);
    for (const seq of [1, 2, 3, 4]) {
      session.receive(batch(position(seq - 1), position(seq), events(8)), 0, 0);
      assert.equal(session.state, seq < 3 ? "resuming" : "live");
      session.handled(position(seq), 0);
    }
  });

  test("what waits is bounded by the window over all connections; what was left is fetched when there is room", () => {
    const session = cameBack();
    session.receive(batch(position(3), position(4), events(4)), 0, 1e4); // 2 and 3, and now 4: eight events
    session.receive(batch(position(4), position(5), events(2)), 0, 1e4);
    session.receive(batch(position(5), position(6), events(2)), 0, 1e4);
    assert.equal(session.position, position(4));
    assert.deepEqual([session.state, session.counts.gaps], ["behind", 0]);
    for (const seq of [2, 3]) session.handled(position(seq), 1e4);
    assert.equal(session.state, "behind");
    session.handled(position(4), 1e4);
    assert.equal(session.state, "offline");
    session.tick(2e4);
    session.opened(2e4);
    const hello = taken(session, "transmit").find(({ frame }) => frame.type === "hello");
    assert.equal(hello.frame.position, position(4));
  });
});
