/** What browsers do to a session: freeze it for ten minutes, and let it meet an edge of another version. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { LIMITS } from "../../edge/runcast/edge/static/client/limits.js";
import { batch, liveSession, position, taken, welcome } from "./model.mjs";
import { Browser } from "./tabs_model.mjs";

const TEN_MINUTES = 600_000;

describe("frozen for ten minutes", () => {
  /** It sent something and acknowledged nothing; then no time passed for it until now. */
  function frozen() {
    const session = liveSession();
    session.send({ type: "send", id: "before", kind: "message", group: "demo", text: "?" }, 0);
    session.receive(batch(position(0), position(1)), 10, 0);
    session.handled(position(1), 0);
    session.takeEffects();
    return session;
  }

  test("what it sent may have been stored: it says so, and does not send it again", () => {
    const session = frozen();
    session.tick(TEN_MINUTES);
    const effects = session.takeEffects();
    const [refused] = effects.filter((effect) => effect.do === "refused");
    assert.deepEqual([refused.id, refused.error.code, refused.error.definite], ["before", "indeterminate", false]);
    session.closed(1006, "", TEN_MINUTES);
    session.tick(session.deadline());
    session.opened(TEN_MINUTES + 100);
    session.receive(welcome({ position: position(1), tip: position(1) }), 10, TEN_MINUTES + 100);
    assert.ok(taken(session, "transmit").every(({ frame }) => frame.type !== "send"));
  });

  test("its socket is not believed, and not thrown away unasked", () => {
    const session = frozen();
    session.nudge(TEN_MINUTES);
    session.tick(TEN_MINUTES);
    assert.equal(session.state, "live");
    assert.deepEqual(
      taken(session, "transmit").map(({ frame }) => frame.type),
      ["ping", "ack"],
    );
    const alive = frozen();
    alive.nudge(TEN_MINUTES);
    alive.receive({ type: "pong" }, 10, TEN_MINUTES + 50);
    alive.tick(TEN_MINUTES + LIMITS.probeMs);
    assert.equal(alive.state, "live");
    session.tick(TEN_MINUTES + LIMITS.probeMs);
    assert.equal(session.state, "offline");
  });

  test("it goes on from where it was, at once", () => {
    const session = frozen();
    session.closed(1006, "", TEN_MINUTES);
    session.tick(TEN_MINUTES + LIMITS.backoffFirstMs);
    assert.equal(session.state, "connecting");
    session.opened(TEN_MINUTES + LIMITS.backoffFirstMs);
    assert.equal(taken(session, "transmit").at(-1).frame.position, position(1));
  });

  for (const leads of [true, false]) {
    test(`a tab that ${leads ? "leads" : "follows"}: the others go on without it, and it comes back to them`, () => {
      const browser = new Browser(11, 3);
      browser.append();
      browser.calm();
      const sleeper = browser.pages.find(({ tab }) => (tab.state === "leading") === leads);
      const others = browser.pages.filter((page) => page !== sleeper);
      sleeper.frozen = true;
      for (let minute = 0; minute < 10; minute += 1) {
        browser.append();
        for (let second = 0; second < 60; second += 1) {
          browser.pass(1_000);
          browser.settle(others);
        }
      }
      for (const page of others) assert.deepEqual(page.applied, browser.log);
      assert.equal(others.filter(({ tab }) => tab.state === "leading").length, 1);
      assert.ok(sleeper.applied.length < browser.log.length);
      browser.calm();
      assert.deepEqual(sleeper.applied, browser.log);
    });
  }
});

test("an application that takes what waits while the connection is away costs nothing but what was left of it", () => {
  const limits = { frame_bytes_max: 65536, window_events: 2, window_bytes: 2097152, ping_interval_ms: 20000 };
  const session = liveSession({ limits });
  for (let seq = 0; seq < 4; seq += 1) session.receive(batch(position(seq), position(seq + 1)), 10, 0);
  assert.equal(session.position, position(2), "the window is full, the rest is left");
  session.closed(1006, "", 0);
  session.handled(position(2), 1);
  assert.equal(session.state, "offline");
  session.tick(LIMITS.backoffFirstMs);
  session.opened(LIMITS.backoffFirstMs);
  assert.equal(taken(session, "transmit").at(-1).frame.position, position(2));
});

test("an edge that speaks other versions only is told from others by code and reason, and left alone", () => {
  const session = liveSession();
  const message = "runcast.v1.json is not spoken here, but runcast.v2.json";
  session.receive({ type: "error", code: "upgrade_required", message }, 10, 0);
  session.closed(4507, "", 0);
  const effects = session.takeEffects();
  assert.deepEqual(effects.at(-1), { do: "state", state: "closed", detail: { code: 4507, reason: message } });
  assert.equal(effects.find((effect) => effect.do === "error").error.code, "upgrade_required");
  assert.equal(session.deadline(), Infinity);
});
