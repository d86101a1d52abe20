/** Whose a session is, and when a new token is asked for: by the edge's word, spread, bounded, and never for an end that nobody knows. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { LIMITS } from "../../edge/runcast/edge/static/client/limits.js";
import { Session } from "../../edge/runcast/edge/static/client/session.js";
import { position, taken, welcome } from "./model.mjs";

const HOUR = 3_600_000;

function opened(token_expires_in_ms, random = () => 0.5) {
  const session = new Session({ device: "tab", from: position(0), random });
  session.start(0);
  session.opened(0);
  session.receive(welcome(token_expires_in_ms === undefined ? {} : { token_expires_in_ms }), 0, 0);
  session.takeEffects();
  return session;
}

/** Lets time pass up to `end`, with an edge that answers pings; when a token was asked for. */
function asked(session, end, answer = () => {}) {
  const at = [];
  for (let now = session.deadline(); now <= end; now = Math.max(now + 1, session.deadline())) {
    session.tick(now);
    for (const effect of session.takeEffects()) {
      if (effect.do === "renew") {
        at.push(now);
        answer(now);
      }
      if (effect.frame?.type === "ping") session.receive({ type: "pong" }, 0, now);
    }
  }
  return at;
}

for (const [chance, part] of [
  [0, LIMITS.renewFrom],
  [0.999_999, LIMITS.renewTo],
]) {
  test(`asked for when ${part} of its time is over, by chance ${chance}`, () => {
    const [first] = asked(opened(HOUR, () => chance), HOUR);
    assert.ok(Math.abs(first - part * HOUR) < 10, String(first));
  });
}

for (const end of [undefined, 0, -5, null, "soon", Number.NaN]) {
  test(`an end of ${end} asks for nothing`, () => {
    assert.deepEqual(asked(opened(end), HOUR), []);
  });
}

test("without an answer it is asked for a few times, ever closer to the end, and then left", () => {
  const at = asked(opened(HOUR), 2 * HOUR);
  assert.equal(at.length, LIMITS.renewTriesMax);
  assert.ok(at.every((time) => time < HOUR) && at[4] > 0.95 * HOUR, String(at));
});

test("the edge's word on the new token plans the next time", () => {
  const session = opened(HOUR);
  const at = asked(session, 10 * HOUR, (now) => session.receive({ type: "refreshed", token_expires_in_ms: HOUR }, 0, now));
  assert.deepEqual(at, Array.from({ length: 12 }, (_, index) => 0.8 * HOUR * (index + 1)));
});

test("a token without an end needs no other", () => {
  const session = opened(HOUR);
  assert.equal(asked(session, 10 * HOUR, (now) => session.receive({ type: "refreshed" }, 0, now)).length, 1);
});

test("the same token again does not start the tries anew", () => {
  const session = opened(HOUR);
  const at = asked(session, HOUR, (now) => session.receive({ type: "refreshed", token_expires_in_ms: HOUR - now }, 0, now));
  assert.ok(at.length <= LIMITS.renewTriesMax, String(at));
});

test("offline nothing is asked for: the next connection brings a token", () => {
  const session = opened(HOUR);
  session.closed(1006, "", 1);
  session.takeEffects();
  session.tick(0.8 * HOUR);
  assert.deepEqual(taken(session, "renew"), []);
});

describe("one session is one user's", () => {
  const begun = () => {
    const session = new Session({ device: "tab", from: "latest", random: () => 0 });
    session.start(0);
    session.opened(0);
    return session;
  };

  test("a welcome of another user, or tenant, ends it: nothing is shown or sent", () => {
    for (const other of [{ user: "bob" }, { tenant: "acme" }]) {
      const session = begun();
      session.receive(welcome(), 0, 0);
      session.closed(1006, "", 0);
      session.send({ type: "send", id: "a", kind: "message" }, 0);
      session.tick(0);
      session.opened(0);
      session.takeEffects();
      session.receive(welcome({ outcome: "reset", ...other }), 0, 0);
      const effects = session.takeEffects();
      assert.deepEqual(
        effects.map((effect) => effect.do),
        ["disconnect", "error", "refused", "state"],
      );
      assert.deepEqual(effects.at(-1).detail, { code: 4501, reason: "another user's token" });
      assert.equal(session.state, "closed");
    }
  });

  test("a new token while the old one's connection is under way: that one is left", () => {
    for (const opened of [false, true]) {
      const session = new Session({ device: "tab", from: "latest", random: () => 0 });
      session.refresh("new", 0);
      session.start(0);
      if (opened) session.opened(0);
      session.takeEffects();
      session.refresh("new", 0);
      assert.equal(session.state, "offline");
      assert.deepEqual(session.takeEffects()[0], { do: "disconnect", reason: "refresh" });
      session.tick(0);
      session.opened(0);
      session.receive(welcome(), 0, 0);
      session.takeEffects();
      session.refresh("newer", 0);
      assert.deepEqual(taken(session, "transmit")[0].frame, { type: "refresh", token: "newer" });
      session.close();
      session.refresh("late", 0);
      assert.equal(session.state, "closed");
    }
  });
});
