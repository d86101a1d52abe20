/** The machine of tabs that share a connection: its table, each rule, and random histories judged by what was applied and acknowledged. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { LIMITS } from "../../edge/runcast/edge/static/client/limits.js";
import { Tab, TABLE } from "../../edge/runcast/edge/static/client/tab.js";
import { batch, position, welcome } from "./model.mjs";
import { Browser } from "./tabs_model.mjs";

const P = [0, 1, 2, 3].map((seq) => position(seq));

function frame(tab, fields) {
  tab.framed(fields, JSON.stringify(fields));
}

function hello(tab, fields = {}) {
  frame(tab, welcome(fields));
}

function says(tab, fields) {
  tab.said(fields, JSON.stringify(fields));
}

/** The effects of one kind, taken. */
function taken(tab, what) {
  return tab.takeEffects().filter((effect) => effect.do === what);
}

/** What it told the others. */
function posted(tab) {
  return taken(tab, "post").map(({ message }) => message);
}

/** A machine in each state of the table, its effects taken. */
function inState(state) {
  const tab = new Tab("ws://edge/v1/ws");
  const steps = {
    alone: [],
    apart: [() => hello(tab)],
    leading: [() => hello(tab), () => tab.granted()],
    following: [() => hello(tab), () => tab.heard({ is: "lead", pos: P[0] }, 0)],
    waiting: [() => hello(tab), () => tab.heard({ is: "lead", pos: P[0] }, 0), () => tab.heard({ is: "gone" }, 0)],
    heir: [() => hello(tab), () => tab.heard({ is: "lead", pos: P[0] }, 0), () => tab.granted()],
  };
  for (const step of steps[state]) step();
  tab.takeEffects();
  return tab;
}

/** How each input of the table is brought about. */
const INPUTS = {
  welcomed: (tab) => hello(tab),
  granted: (tab) => tab.granted(),
  lost: (tab) => tab.lost(),
  joined: (tab) => tab.heard({ is: "lead", pos: P[0] }, 0),
  silenced: (tab) => tab.closed("silent"),
  orphaned: (tab) => tab.heard({ is: "gone" }, 0),
  led: (tab) => tab.heard({ is: "lead", pos: P[0] }, 0),
  ended: (tab) => tab.closed(),
};

describe("the table", () => {
  for (const [state, row] of Object.entries(TABLE)) {
    for (const [input, give] of Object.entries(INPUTS)) {
      // The same message brings about both.
      if ((input === "joined" && state === "waiting") || (input === "led" && state === "apart")) continue;
      // Silence of an own connection is any end.
      const next = row[input] ?? (input === "silenced" ? row.ended : undefined) ?? state;
      test(`${state}, ${input}: ${next}`, () => {
        const tab = inState(state);
        assert.equal(tab.state, state);
        give(tab);
        assert.equal(tab.state, next);
      });
    }
  }
});

describe("who shares", () => {
  const name = (fields, url = "ws://edge/v1/ws") => {
    const tab = new Tab(url);
    hello(tab, fields);
    return taken(tab, "join")[0].name;
  };

  test("the group is of what the edge's welcome said, and of the edge's address", () => {
    const others = [
      name({}),
      name({ user: "bob" }),
      name({ tenant: "acme" }),
      name({ device: "phone" }),
      name({}, "ws://other/v1/ws"),
      name({ tenant: 'default","alice', user: "tab" }),
    ];
    assert.equal(new Set(others).size, others.length);
    assert.equal(name({}), others[0]);
  });

  test("a replay is nobody's", () => {
    const tab = new Tab("ws://edge/v1/ws");
    hello(tab, { replay: true });
    assert.deepEqual(
      tab.takeEffects().map((effect) => effect.do),
      ["pass"],
    );
  });

  test("without a lock, a leader, or anybody, it is a connection like any other", () => {
    const tab = inState("apart");
    says(tab, { type: "ack", pos: P[0] });
    frame(tab, batch(P[0], P[1]));
    assert.deepEqual(
      tab.takeEffects().map((effect) => effect.do),
      ["forward", "pass"],
    );
  });
});

describe("joining", () => {
  test("not before it has caught up", () => {
    const tab = new Tab("ws://edge/v1/ws");
    hello(tab, { tip: P[1] });
    tab.heard({ is: "lead", pos: P[0] }, 0);
    assert.equal(tab.state, "apart");
    frame(tab, batch(P[0], P[1]));
    assert.equal(tab.state, "following");
    assert.equal(taken(tab, "hang_up").length, 1);
  });

  test("not while the leader is ahead", () => {
    const tab = inState("apart");
    tab.heard({ is: "lead", pos: P[0] }, 0);
    const ahead = inState("apart");
    ahead.heard({ is: "lead", pos: P[1] }, 0);
    assert.deepEqual([tab.state, ahead.state], ["following", "apart"]);
    frame(ahead, batch(P[0], P[1]));
    assert.equal(ahead.state, "following");
  });

  test("not while an answer is on its way", () => {
    const tab = inState("apart");
    says(tab, { type: "send", id: "a" });
    tab.heard({ is: "lead", pos: P[0] }, 0);
    assert.equal(tab.state, "apart");
    frame(tab, { type: "sent", id: "a" });
    assert.equal(tab.state, "following");
  });

  test("not with a token that no edge has judged", () => {
    const tab = inState("apart");
    says(tab, { type: "refresh", token: "another's?" });
    tab.heard({ is: "lead", pos: P[0] }, 0);
    frame(tab, { type: "error", code: "unavailable", id: "" });
    assert.equal(tab.state, "apart", "the next connection will have to show it");
    frame(tab, { type: "refreshed" });
    assert.equal(tab.state, "following");
    const next = inState("apart");
    says(next, { type: "refresh", token: "another's?" });
    next.closed();
    hello(next);
    next.heard({ is: "lead", pos: P[0] }, 0);
    assert.equal(next.state, "following");
  });

  test("positions of another epoch have no order: it stays apart", () => {
    const tab = inState("apart");
    tab.heard({ is: "lead", pos: position(0, "zzzzzzzz") }, 0);
    assert.equal(tab.state, "apart");
  });

  test("its token keeps nothing open: it is not renewed", () => {
    const tab = inState("apart");
    tab.heard({ is: "lead", pos: P[0] }, 0);
    assert.deepEqual(JSON.parse(taken(tab, "pass")[0].data), { type: "refreshed" });
  });
});

describe("following", () => {
  const heard = (tab, prev, pos) => tab.heard({ is: "batch", prev, pos, data: JSON.stringify(batch(prev, pos)) }, 0);

  test("takes the chain, drops a repeat, and leaves at a gap", () => {
    const tab = inState("following");
    heard(tab, P[0], P[1]);
    heard(tab, P[0], P[1]);
    assert.equal(taken(tab, "pass").length, 1);
    heard(tab, P[2], P[3]);
    assert.deepEqual(
      tab.takeEffects().filter(({ do: what }) => what !== "post"),
      [{ do: "release" }, { do: "end", reason: "gap" }],
    );
    assert.equal(tab.state, "alone");
  });

  test("says by way of the leader, and nothing of its own", () => {
    const tab = inState("following");
    says(tab, { type: "send", id: "a", text: "?" });
    says(tab, { type: "ack", pos: P[0] });
    says(tab, { type: "ping" });
    const effects = tab.takeEffects();
    assert.deepEqual(
      effects.filter((effect) => effect.do === "post").map(({ message }) => message.is),
      ["send", "ack", "ping"],
    );
    assert.ok(effects.every((effect) => effect.do !== "forward"));
  });

  test("a new token is for an edge to judge: it leaves, and goes to no other tab", () => {
    for (const state of ["following", "waiting"]) {
      const tab = inState(state);
      says(tab, { type: "refresh", token: "secret" });
      heard(tab, P[0], P[1]);
      const effects = tab.takeEffects();
      assert.deepEqual(effects, [{ do: "release" }, { do: "end", reason: "handover" }]);
      assert.equal(tab.state, "alone");
    }
  });

  test("hears the answers to its own sends, and no others'", () => {
    const tab = inState("following");
    says(tab, { type: "send", id: "a" });
    tab.takeEffects();
    for (const id of ["b", "a", "a"]) tab.heard({ is: "answer", id, data: JSON.stringify({ type: "sent", id }) }, 0);
    assert.deepEqual(
      taken(tab, "pass").map(({ data }) => JSON.parse(data).id),
      ["a"],
    );
  });

  test("waits for another leader, so long and no longer", () => {
    const tab = inState("following");
    tab.heard({ is: "gone" }, 1_000);
    assert.equal(tab.deadline(), 1_000 + LIMITS.takeoverMs);
    tab.heard({ is: "gone" }, 1_500);
    assert.equal(tab.deadline(), 1_000 + LIMITS.takeoverMs);
    heard(tab, P[0], P[1]);
    tab.heard({ is: "lead", pos: P[1] }, 2_000);
    assert.deepEqual([tab.state, tab.deadline()], ["following", Infinity]);
    tab.heard({ is: "gone" }, 3_000);
    tab.tick(3_000 + LIMITS.takeoverMs);
    assert.deepEqual(taken(tab, "end"), [{ do: "end", reason: "handover" }]);
  });

  test("what it sent by way of a leader that went is sent again, on its own", () => {
    const tab = inState("following");
    says(tab, { type: "send", id: "a" });
    tab.heard({ is: "gone" }, 0);
    tab.heard({ is: "lead", pos: P[0] }, 0);
    assert.deepEqual([tab.state, taken(tab, "end").length], ["alone", 1]);
  });

  test("a leader that is ahead is a gap, whether or not anything follows", () => {
    const tab = inState("following");
    tab.heard({ is: "lead", pos: P[1] }, 0);
    assert.deepEqual(taken(tab, "end"), [{ do: "end", reason: "gap" }]);
  });

  test("the next connection begins without what was known of the leader", () => {
    const tab = inState("following");
    tab.closed();
    hello(tab);
    frame(tab, { type: "pong" });
    assert.equal(tab.state, "apart");
  });

  test("the heir tells the others that there is another leader, and when it leads", () => {
    const tab = inState("following");
    says(tab, { type: "send", id: "a" });
    tab.granted();
    assert.deepEqual(posted(tab).at(-1), { is: "gone" });
    hello(tab);
    assert.deepEqual(posted(tab), [{ is: "lead", pos: P[0] }]);
    // What it sent before is the session's business: it keeps it from nothing.
    tab.lost();
    tab.heard({ is: "lead", pos: P[0] }, 0);
    assert.equal(tab.state, "following");
  });

  test("a leader that is silent loses the lock", () => {
    const tab = inState("following");
    tab.closed("silent");
    assert.deepEqual([tab.state, taken(tab, "steal").length], ["heir", 1]);
  });
});

describe("leading", () => {
  test("tells nobody when nobody is there", () => {
    const tab = inState("leading");
    frame(tab, batch(P[0], P[1]));
    assert.deepEqual(posted(tab), []);
    tab.heard({ is: "ask" }, 0);
    frame(tab, batch(P[1], P[2]));
    assert.deepEqual(
      posted(tab).map(({ is, pos }) => [is, pos]),
      [
        ["lead", P[1]],
        ["batch", P[2]],
      ],
    );
  });

  test("says that it leads when it has caught up, not before", () => {
    const tab = new Tab("ws://edge/v1/ws");
    hello(tab, { tip: P[2] });
    tab.granted();
    tab.heard({ is: "ask" }, 0);
    frame(tab, batch(P[0], P[1]));
    assert.ok(posted(tab).every(({ is }) => is !== "lead"));
    frame(tab, batch(P[1], P[2]));
    assert.deepEqual(posted(tab).at(-1), { is: "lead", pos: P[2] });
  });

  test("acknowledges what any tab handled, once, and never what this connection has not brought", () => {
    const tab = inState("leading");
    frame(tab, batch(P[0], P[1]));
    tab.takeEffects();
    for (const pos of [P[2], P[1], P[1], P[0]]) tab.heard({ is: "ack", pos }, 0);
    assert.deepEqual(
      taken(tab, "forward").map(({ data }) => JSON.parse(data).pos),
      [P[1]],
    );
  });

  test("what this tab told is not told again for others; on the next connection it is", () => {
    const tab = inState("leading");
    frame(tab, batch(P[0], P[1]));
    says(tab, { type: "ack", pos: P[1] });
    tab.takeEffects();
    tab.heard({ is: "ack", pos: P[1] }, 0);
    assert.deepEqual(taken(tab, "forward"), []);
    tab.closed();
    hello(tab, { position: P[1], tip: P[1] });
    tab.granted();
    tab.heard({ is: "ack", pos: P[1] }, 0);
    assert.equal(taken(tab, "forward").length, 1);
  });

  test("what others sent on a connection that is over is nobody's here", () => {
    const tab = inState("leading");
    tab.heard({ is: "send", id: "a", data: '{"type":"send","id":"a"}' }, 0);
    tab.closed();
    hello(tab);
    tab.takeEffects();
    frame(tab, { type: "sent", id: "a" });
    assert.equal(taken(tab, "pass").length, 1);
  });

  test("the answer to another's send goes there, and not to this tab's session", () => {
    const tab = inState("leading");
    tab.heard({ is: "send", id: "a", data: '{"type":"send","id":"a"}' }, 0);
    frame(tab, { type: "error", id: "a", code: "rate_limited" });
    frame(tab, { type: "error", id: "b", code: "rate_limited" });
    const effects = tab.takeEffects();
    assert.deepEqual(
      effects.filter((effect) => effect.do === "pass").map(({ frame: { id } }) => id),
      ["b"],
    );
    assert.equal(effects.find((effect) => effect.do === "post").message.id, "a");
  });

  test("a ping of another goes all the way", () => {
    const tab = inState("leading");
    tab.heard({ is: "ping" }, 0);
    assert.deepEqual(taken(tab, "forward"), [{ do: "forward", data: '{"type":"ping"}' }]);
    frame(tab, { type: "pong" });
    assert.deepEqual(posted(tab), [{ is: "pong" }]);
  });

  test("a page that goes says so, and gives up lock and channel", () => {
    const tab = inState("leading");
    tab.left();
    assert.deepEqual(
      tab.takeEffects().map((effect) => effect.message?.is ?? effect.do),
      ["gone", "release", "end", "leave"],
    );
  });

  test("who lost the lock queues again", () => {
    const tab = inState("leading");
    tab.lost();
    assert.deepEqual(
      tab.takeEffects().map((effect) => effect.message?.is ?? effect.do),
      ["queue", "ask"],
    );
  });
});

describe("random histories", () => {
  for (let seed = 1; seed <= 80; seed += 1) {
    test(`every tab applies the stream once, in order, and one connection is left: ${seed}`, () => {
      const browser = new Browser(seed, 1 + (seed % 4));
      for (let step = 0; step < 600; step += 1) browser.step();
      browser.calm();
      for (const page of browser.pages) {
        assert.deepEqual(page.applied, browser.log);
        assert.equal(new Set([...page.sent, ...page.refused]).size, page.sent.length + page.refused.length);
        for (const id of page.sent) assert.ok(browser.stored.has(id));
      }
      assert.equal(browser.pages.filter(({ socket }) => socket !== null).length, 1);
    });
  }

  for (const leads of [true, false]) {
    test(`a tab that takes nothing holds up nobody, whether it ${leads ? "leads" : "follows"}`, () => {
      const browser = new Browser(3, 3);
      browser.append();
      browser.calm();
      const slow = browser.pages.find(({ tab }) => (tab.state === "leading") === leads);
      slow.slow = true;
      for (let number = 0; number < 100; number += 1) {
        browser.append();
        browser.settle(browser.pages);
        browser.pass(200);
      }
      browser.settle(browser.pages);
      for (const page of browser.pages) if (page !== slow) assert.deepEqual(page.applied, browser.log);
      assert.ok(slow.applied.length < 20, "what waits for it is bounded");
      slow.slow = false;
      browser.calm();
      assert.deepEqual(slow.applied, browser.log);
    });
  }

  test("another user's token ends a tab, and nothing goes from one user to the other", () => {
    for (let seed = 1; seed <= 40; seed += 1) {
      const browser = new Browser(seed, 3);
      for (let step = 0; step < 100; step += 1) browser.step();
      for (const page of browser.pages) page.frozen = false;
      const page = browser.pick(browser.pages);
      const { length } = page.applied;
      const fed = page.socket === null;
      if (page.session.welcome === null) continue; // bob is its first
      browser.refresh(page, "bob");
      browser.say(page);
      const said = `say-${browser.said}`;
      for (let step = 0; step < 100; step += 1) browser.step();
      browser.calm();
      if (!browser.pages.includes(page)) continue; // closed by chance
      assert.equal(page.session.state, "closed");
      assert.deepEqual(page.applied, browser.log.slice(0, page.applied.length));
      if (fed) assert.equal(page.applied.length, length, "it shows nothing more");
      if (fed) assert.ok(!browser.stored.has(said), "and says nothing more");
      assert.ok(page.channel === "" && page.socket === null);
      const others = browser.pages.filter((each) => each !== page && each.session.state !== "closed");
      for (const other of others) assert.deepEqual(other.applied, browser.log);
    }
  });

  test("two users in one browser: two connections, and neither hears the other", () => {
    const browser = new Browser(7, 2);
    const others = [browser.open("bob"), browser.open("bob")];
    browser.calm();
    assert.deepEqual(browser.pages.map(({ tab }) => tab.state).sort(), ["following", "following", "leading", "leading"]);
    assert.ok(others.every(({ channel }) => channel.includes("bob")));
  });
});
