// A page that counts how often its parts are drawn, and that tests lead by `window.page`.

import { RuncastProvider, useActions, useConnection, useRun, useRuncast, useRuncastEvent, useTimeline } from "@runcast/react";
import { memo, StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";

const drawn = (window.drawn = {});
const count = (what) => void (drawn[what] = (drawn[what] ?? 0) + 1);
window.heard = [];
window.snapshots = new Set();

function Run({ id }) {
  count(id);
  return <p data-run={id}>{useRun(id)?.messages.map(({ text }) => text).join("")}</p>;
}

const List = memo(function List() {
  count("list");
  const entries = useTimeline().filter(({ type }) => type === "run");
  return entries.map(({ id }) => <Run key={id} id={id} />);
});

const Status = memo(function Status() {
  count("status");
  const { state, user } = useConnection();
  window.actions = useActions();
  useRuncastEvent("custom", ({ data }) => window.heard.push(data.name));
  return <p id="status">{`${state} ${user?.user}`}</p>;
});

function Alone({ token }) {
  const snapshot = useRuncast("/v1/ws", { token });
  window.snapshots.add(snapshot);
  return <p id="alone">{snapshot.timeline.length}</p>;
}

function Page() {
  const [now, set] = useState({ token: new URLSearchParams(location.search).get("token"), shown: true, alone: false, drawn: 0 });
  window.page = (change) => set((before) => ({ ...before, ...change }));
  return (
    <>
      <p id="drawn">{now.drawn}</p>
      {now.shown && (
        <RuncastProvider url="/v1/ws" token={now.token} user={now.user}>
          <Status />
          <List />
        </RuncastProvider>
      )}
      {now.alone && <Alone token={now.token} />}
    </>
  );
}

createRoot(document.getElementById("root")).render(
  <StrictMode>
    <Page />
  </StrictMode>,
);
