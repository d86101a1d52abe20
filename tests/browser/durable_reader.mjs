// Reads a stream with @durable-streams/client, as anybody's program would. Arguments: the stream's URL, a token.
// Says one line of JSON for each thing that it found; "live" when it has read everything that was there.
import { DurableStream, stream } from "@durable-streams/client";

const [url, token] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${token}` };
const say = (/** @type {object} */ what) => console.log(JSON.stringify(what));
const brief = (/** @type {any[]} */ events) => events.map(({ id, kind }) => [id, kind]);

const caughtUp = await stream({ url, headers, offset: "-1", live: false });
const events = await caughtUp.json();
say({ is: "catch-up", events: brief(events), offset: caughtUp.offset, upToDate: caughtUp.upToDate });

const head = await new DurableStream({ url, headers }).head();
say({ is: "head", exists: head.exists, offset: head.offset, contentType: head.contentType });

async function follow(/** @type {"long-poll" | "sse"} */ live) {
  const abort = new AbortController();
  const found = [];
  let offset = "";
  let said = false;
  const reading = await stream({ url, headers, offset: caughtUp.offset, live, signal: abort.signal });
  await new Promise((resolve, reject) => {
    reading.subscribeJson(async (batch) => {
      found.push(...brief(batch.items));
      offset = batch.offset;
      if (!said && batch.upToDate) {
        said = true;
        say({ is: "live", live });
      }
      if (found.some(([, kind]) => kind === "agent_completed")) resolve(undefined);
    });
    reading.closed.catch(reject);
  });
  abort.abort();
  return { is: live, events: found, offset };
}

for (const found of await Promise.all([follow("long-poll"), follow("sse")])) say(found);

for (const offset of ["zzzzzzzz-0000000000000001", "nonsense"]) {
  try {
    await (await stream({ url, headers, offset, live: false })).json();
    say({ is: "refused", offset });
  } catch (error) {
    say({ is: "refused", offset, status: error.status });
  }
}
process.exit(0);
