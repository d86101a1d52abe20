/**
 * What the connection's state and the edge's close codes mean to a person, who knows nothing of sockets.
 *
 * Rules: a code says what happened, and what one can do; what is lost is said, and that nothing is. Pure; imports nothing.
 *
 * PROTOCOL.md: "Close codes".
 *
 * @typedef {{code?: number, reason?: string}} Detail
 * @typedef {{heading: string, advice: string}} Closed
 */

const MISUNDERSTOOD = {
  heading: "This page and the server do not understand each other",
  advice: "One of them is probably newer. Load the page again; if that does not help, tell whoever runs this service.",
};

/** Closed for good: something must change first. @type {Record<number, Closed>} */
const CLOSED = {
  1009: { heading: "That was too much at once", advice: "What was sent is larger than the server takes. Load the page again and send less." },
  4500: { heading: "This name can't be used", advice: "Choose a user name that is not empty and not very long, then load the page again." },
  4501: { heading: "You are not signed in", advice: "Your sign-in is missing, or is not valid any more. Sign in again, then load this page again." },
  4505: {
    heading: "This page may not connect from here",
    advice: "The server does not know the address that this page came from. Whoever runs it can allow it (RUNCAST_ORIGINS).",
  },
  4506: { heading: "Your access was ended", advice: "Somebody who runs this service has ended it. Sign in again; if that is refused, ask them." },
};

/** Closed, and come back by itself: why, where it helps to know. @type {Record<number, string>} */
const COMING_BACK = {
  4001: "Changing servers, nothing is lost",
  4003: "The server's storage is away; trying again, nothing is lost",
  4011: "Too many pages are open; close one. Trying again",
  4012: "Renewing your sign-in, nothing is lost",
  4029: "Too many connections; waiting a little, nothing is lost",
};

/**
 * The line in the page's bar.
 * @param {string} state the connection's
 * @param {Detail} detail
 * @param {{before: boolean, online: boolean, replay: boolean}} seen `before`: it was live before; `online`: the browser has a network;
 *   `replay`: what comes was recorded
 */
export function stateWords(state, { code = 0 }, { before, online, replay }) {
  switch (state) {
    case "live":
      return replay ? "Replay" : "Live";
    case "behind":
      return "Behind, catching up";
    case "closed":
      return "Disconnected";
    case "connecting":
      return before ? "Reconnecting, nothing is lost" : "Connecting";
    case "offline":
      return online ? (COMING_BACK[code] ?? "Reconnecting, nothing is lost") : "No network, nothing is lost";
    default:
      return before ? "Catching up, nothing is lost" : "Catching up";
  }
}

/**
 * Why it is closed for good, and what to do.
 * @param {Detail} detail
 * @returns {Closed & {said: string}} `said`: the server's own words; "" for none
 */
export function closedWords({ code = 0, reason = "" }) {
  const known = CLOSED[code] ?? (code === 0 ? { heading: "This page has disconnected", advice: "Load it again to go on." } : MISUNDERSTOOD);
  return { ...known, said: reason };
}
