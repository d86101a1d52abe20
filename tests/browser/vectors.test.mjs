/** The transcripts that every client agrees on (`tests/vectors`), replayed by the session and the reducer of the browser client. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { complete, Runs } from "../../edge/runcast/edge/static/client/runs.js";
import { Session } from "../../edge/runcast/edge/static/client/session.js";

const VECTORS = new URL("../vectors/", import.meta.url);

function replay(frames) {
  const session = new Session({ device: "tab-1", from: "earliest", random: () => 0 });
  const runs = new Runs(1_000);
  let now = 0;
  session.start(now);
  session.opened(now);
  for (const frame of frames) {
    if (frame.type === "welcome" && session.welcome !== null) {
      session.closed(1006, "", now);
      session.tick((now += 60_000));
      session.opened(now);
    }
    session.receive(frame, JSON.stringify(frame).length, now);
    for (const effect of session.takeEffects()) {
      if (effect.do === "reset") runs.reset();
      if (effect.do === "deliver") for (const event of effect.events) runs.apply(complete(event));
    }
  }
  return { session, runs };
}

for (const name of readdirSync(VECTORS).filter((file) => file.endsWith(".json"))) {
  const { about, frames, timeline } = JSON.parse(readFileSync(new URL(name, VECTORS), "utf-8"));
  test(`${name}: ${about}`, () => {
    const { session, runs } = replay(frames);
    assert.deepEqual(JSON.parse(JSON.stringify(runs.timeline)), timeline);
    assert.deepEqual([session.state, session.counts.gaps], ["live", 0]);
  });
}
