/** The packed hooks on a server: nothing is connected, and a page is drawn that a browser can go on from. Run from where the packages are installed. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { RuncastProvider, useChildRuns, useConnection, useRun, useRuncast, useSelected, useTimeline } from "@runcast/react";
import { createElement } from "react";
import { renderToString } from "react-dom/server";

const options = { url: "/v1/ws", token: "dev.default.alice" };

test("a server draws the state before anything is known", () => {
  const Page = () => {
    const { state } = useConnection();
    return [state, useTimeline().length, String(useRun("r")), useChildRuns("r").length, useSelected(({ open }) => open.length)].join(" ");
  };
  assert.equal(renderToString(createElement(RuncastProvider, options, createElement(Page))), "connecting 0 undefined 0 0");
});

test("one component without a provider", () => {
  const Page = () => {
    const { state, timeline, send } = useRuncast("/v1/ws", { token: "dev.default.alice" });
    return [state, timeline.length, typeof send].join(" ");
  };
  assert.equal(renderToString(createElement(Page)), "connecting 0 function");
});

test("a hook without a provider says what is missing", () => {
  const Page = () => useConnection().state;
  assert.throws(() => renderToString(createElement(Page)), /needs a <RuncastProvider> above it/);
});
