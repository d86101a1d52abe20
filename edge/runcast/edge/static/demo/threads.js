/**
 * Conversations: which there are, what they are called, and whether something is going on in them.
 *
 * Rules: a conversation is a thread; it is called by the first thing said in it. What names no thread belongs to the conversation "main".
 * The one in which something was begun last comes first. Pure; imports nothing.
 *
 * @typedef {import("/client/runcast.js").Entry} Entry
 * @typedef {"" | "working" | "waiting"} Activity waiting: for the user
 * @typedef {{id: string, title: string, activity: Activity}} Thread
 */

/** The conversation of what names no thread. */
export const MAIN = "main";

/** What a conversation is called in which nothing was said yet. */
export const UNTITLED = "New conversation";

/** Characters of a title: one line of the list, and of the browser's tab. */
const TITLE_CHARS_MAX = 80;

/** @param {{thread: string}} entry or event */
export function threadOf({ thread }) {
  return thread || MAIN;
}

/**
 * @param {readonly Entry[]} timeline in the order of the stream
 * @param {string} current the conversation that is shown: listed, even if nothing was said in it
 * @returns {Thread[]}
 */
export function threadsOf(timeline, current) {
  /** @type {Map<string, Thread & {said: boolean, last: number}>} */
  const threads = new Map();
  timeline.forEach((entry, index) => {
    const id = threadOf(entry);
    const thread = threads.get(id) ?? { id, title: "", activity: "", said: false, last: index };
    threads.set(id, thread);
    if (entry.type === "user") {
      if (!thread.said) thread.title = titleOf(entry.text);
      thread.said = true;
      thread.last = index;
      return;
    }
    if (entry.parentRunId === "") thread.last = index;
    thread.title ||= titleOf(entry.title || entry.agent);
    if (entry.status === "waiting") thread.activity = "waiting";
    else if (entry.status === "running") thread.activity ||= "working";
  });
  const listed = [...threads.values()].sort((one, other) => other.last - one.last);
  const plain = listed.map(({ id, title, activity }) => ({ id, title: title || UNTITLED, activity }));
  return threads.has(current) ? plain : [{ id: current, title: UNTITLED, activity: "" }, ...plain];
}

/** @param {string} text */
function titleOf(text) {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > TITLE_CHARS_MAX ? `${line.slice(0, TITLE_CHARS_MAX - 1).trimEnd()}…` : line;
}
