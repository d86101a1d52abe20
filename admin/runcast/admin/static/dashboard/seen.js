// Who is looked at, as of when, and how moments and numbers are said: shared by the parts of the user's page.
import { at, text } from "./dom.js";
import { duration } from "./figures.js";

const query = new URLSearchParams(location.search);
export const tenant = query.get("tenant") ?? "";
export const user = query.get("user") ?? "";

/**
 * `nowMs`: the server's clock at its newest message; `silenceS`: from when on a silence is shown, null until somebody says; `places`: from
 * where to where is played and exported, as it was written, null if it is known to be wrong.
 */
export const seen = { nowMs: 0, silenceS: null, places: {} };

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

/** Has two links lead to a replay and an export of a run, or of all for "". */
export function offer(play, take, run) {
  lead(play, seen.places && address("/replay/open", run, { speed: at("speed").value, ...seen.places }));
  lead(take, seen.places && address("/replay/export", run, seen.places));
}

function lead(link, href) {
  link.toggleAttribute("href", Boolean(href));
  if (href) link.href = href;
  for (const [name, value] of [["role", "link"], ["aria-disabled", "true"]]) href ? link.removeAttribute(name) : link.setAttribute(name, value);
}
