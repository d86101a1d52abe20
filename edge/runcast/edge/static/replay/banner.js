/**
 * Says on a page that what it shows is a replay: who serves replays (`runcast replay`, the dashboard) adds it to the page. It takes away what
 * would send something, for nothing that is sent from a replay reaches anybody.
 */

/** @typedef {{tenant: string, user: string, run: string, events: number, speed: string, first_ms: number, last_ms: number, redacted: number, unreadable: number, incomplete: boolean, whole: boolean, file: boolean}} Words */

/** @type {Words} */
const words = await (await fetch(`/replay/words.json${location.search}`)).json();

/** @param {number} ms */
const time = (ms) => new Date(ms).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** @param {number} from @param {number} to */
const between = (from, to) => {
  const day = new Date(from).toDateString() === new Date(to).toDateString();
  return ` from ${time(from)} to ${day ? new Date(to).toLocaleTimeString(undefined, { timeStyle: "medium" }) : time(to)}`;
};

/** @param {number} count @param {string} one @param {string} many */
const counted = (count, one, many) => `${count.toLocaleString()} ${count === 1 ? one : many}`;

const banner = document.createElement("aside");
banner.className = "replay-banner";
banner.id = "replay";
banner.dataset.testid = "replay";
banner.setAttribute("aria-label", "Replay");

const title = document.createElement("strong");
title.textContent = "Replay";
const what = document.createElement("span");
what.textContent = [
  `What was recorded of ${words.user}${words.run ? `, run ${words.run}` : ""}: ${counted(words.events, "event", "events")}`,
  words.events ? between(words.first_ms, words.last_ms) : "",
  words.speed === "" ? ", without waits" : words.speed === "1" ? "" : `, at ${words.speed} times the speed`,
  ". Nothing here happens now, and nothing can be sent.",
  words.redacted ? " Some of it was taken out by redaction rules." : "",
  words.file ? " It is from a file: what that says is played, whoever wrote it." : "",
  words.whole ? "" : " The file was cut off; what is there is played.",
  words.incomplete ? " There is a gap before the first event: what was there has left the log." : "",
  words.unreadable ? ` ${counted(words.unreadable, "batch", "batches")} could not be opened, and are missing.` : "",
].join("");
const again = document.createElement("button");
again.type = "button";
again.textContent = "Play again";
again.addEventListener("click", () => location.reload());
banner.append(title, what, again);
document.body.prepend(banner);
const who = document.getElementById("user"); // the page knows the recording's name alone
if (who) who.textContent = words.user;
document.title = `Replay: ${document.title}`;
for (const form of document.querySelectorAll("form, footer")) /** @type {HTMLElement} */ (form).inert = true;
