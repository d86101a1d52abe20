// Who is looked at, as of when, and how moments and numbers are said: shared by the parts of the user's page.
import { at, text } from "./dom.js";
import { duration } from "./figures.js";

const query = new URLSearchParams(location.search);
export const tenant = query.get("tenant") ?? "";
export const user = query.get("user") ?? "";

/** `nowMs`: the server's clock at its newest message; `silenceS`: from when on a silence is shown, null until somebody says. */
export const seen = { nowMs: 0, silenceS: null };

export const leastMs = () => (seen.silenceS ?? 5) * 1000;
export const clock = (ms) => new Date(ms).toLocaleTimeString();
/** A moment, with its day if that is another one than today. */
export const moment = (ms) => (new Date(ms).toDateString() === new Date(seen.nowMs).toDateString() ? clock(ms) : new Date(ms).toLocaleString());
export const ago = (ms) => `${duration(Math.max(seen.nowMs - ms, 0) / 1000)} ago`;
export const many = (number, one, more) => `${number.toLocaleString("en")} ${number === 1 ? one : more}`;

export function state(node, word, name) {
  text(node, word);
  node.dataset.state = name;
}

export const address = (path, run, more = {}) => `${path}?${new URLSearchParams({ tenant, user, ...(run ? { run } : {}), ...more })}`;
export const playAddress = (run) => address("/replay/open", run, { speed: at("speed").value });
