// Reads runs with @ag-ui/client's HttpAgent, whose own stages parse, enforce, verify and apply what comes. It asks by POST for a new run, which
// is not what is here: so the request is another, and all behind it is the package's. Arguments: the edge's URL, a token, and a JSON array of
// [run id, Last-Event-ID or ""]. Says one line of JSON for each.
import { HttpAgent } from "@ag-ui/client";

const [edge, token, wanted] = process.argv.slice(2);

class RunReader extends HttpAgent {
  requestInit() {
    return { method: "GET", headers: this.headers, signal: this.abortController.signal };
  }
}

const complaints = [];
console.warn = (...what) => complaints.push(what.join(" "));
console.error = (...what) => complaints.push(what.join(" "));

async function read(/** @type {string} */ run, /** @type {string} */ lastId) {
  const headers = { Authorization: `Bearer ${token}`, Accept: "text/event-stream", ...(lastId && { "Last-Event-ID": lastId }) };
  const agent = new RunReader({ url: `${edge}/v1/agui/${run}`, headers });
  const types = [];
  const told = { run, types, refused: "", code: "", messages: [], calls: [], result: null };
  try {
    const { result } = await agent.runAgent(
      { runId: run },
      {
        onEvent: ({ event }) => void types.push(event.type),
        onRunErrorEvent: ({ event }) => void (told.code = event.code),
      },
    );
    told.result = result ?? null;
  } catch (error) {
    told.refused = String(error);
  }
  told.messages = agent.messages.map(({ role, content, toolCalls }) => [role, content ?? toolCalls?.map((call) => call.function.name)]);
  const results = (id) => agent.messages.filter((message) => message.toolCallId === id).map(({ content }) => content);
  const calls = agent.messages.flatMap(({ toolCalls }) => toolCalls ?? []);
  told.calls = calls.map((call) => [call.function.name, call.function.arguments, results(call.id)]);
  return told;
}

const all = await Promise.all(JSON.parse(wanted).map(([run, lastId]) => read(run, lastId)));
for (const told of all) console.log(JSON.stringify(told));
console.log(JSON.stringify({ complaints }));
process.exit(0);
