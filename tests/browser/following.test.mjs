// How a page follows a stream of the admin service: what it says of it, and what it does next.
import assert from "node:assert/strict";
import { test } from "node:test";

const { Following } = await import("../../admin/runcast/admin/static/dashboard/following.js");

const STALE_MS = 4000;
const live = () => {
  const following = new Following(STALE_MS, true, 0);
  following.heard(1000, "");
  return following;
};
const login = "You are not logged in, or the login is over.";

test("news make it live, and what is old is said to be so until there are more", () => {
  const following = new Following(STALE_MS, true, 0);
  following.tick(60_000);
  assert.equal(following.link, "connecting"); // there is nothing yet that could be old
  following.heard(1000, "not all of it");
  following.heard(2000);
  assert.deepEqual([following.link, following.notice], ["live", "not all of it"]);
  following.tick(6000);
  assert.equal(following.link, "live");
  following.lost();
  assert.equal(following.link, "connecting");
  following.tick(6001);
  following.lost(); // each try that fails tells so: the word must not go to and fro
  assert.equal(following.link, "stale");
  following.heard(7000, "");
  assert.deepEqual([following.link, following.notice], ["live", ""]);
});

test("a browser that was refused finds out why", () => {
  for (const [status, next, link] of [[200, "open", "connecting"], [503, "ask", "connecting"], [0, "ask", "connecting"], [401, "", "ended"]]) {
    const following = live();
    following.lost();
    assert.deepEqual([following.asked(status), following.link], [next, link], String(status));
    assert.deepEqual([following.notice, following.login], status === 401 ? [login, true] : ["", false]);
  }
});

test("what the server won't tell is asked for again if that may help", () => {
  const following = live();
  assert.deepEqual([following.refused("too many", true), following.link, following.notice], ["open", "connecting", "too many"]);
  assert.deepEqual([following.refused("nobody can be called so", false), following.link], ["", "idle"]);
  following.tick(60_000);
  assert.equal(following.link, "idle");
});

test("the end is the end", () => {
  const following = live();
  assert.equal(following.ended("log in again"), "");
  following.tick(60_000);
  assert.deepEqual([following.link, following.notice, following.login, following.asked(200)], ["ended", "log in again", true, ""]);
  assert.equal(following.touched(90_000), false);
});

test("a page that follows nothing wants a login all the same", () => {
  const following = new Following(STALE_MS, false, 0);
  assert.deepEqual([following.link, following.asked(200), following.asked(0)], ["idle", "", ""]);
  assert.deepEqual([following.asked(401), following.link, following.notice], ["", "ended", login]);
});

test("who does something uses the login, once a minute", () => {
  const following = live();
  assert.deepEqual([59_999, 60_000, 119_999, 120_000].map((now) => following.touched(now)), [false, true, false, true]);
});
