/**
 * Every bound of the browser client: its value, its unit, why, and what happens when it is reached.
 * Those that `runcast/wire/limits.py` has too are equal to it; a test compares them.
 */

export const LIMITS = Object.freeze({
  /** First wait before a reconnect; doubles, with full jitter. */
  backoffFirstMs: 100,
  /** Longest such wait. */
  backoffMaxMs: 2_000,
  /** From asking for a socket until it is open. Then it is given up and tried again. */
  connectTimeoutMs: 5_000,
  /** From the open socket to `welcome`. The same. */
  welcomeTimeoutMs: 10_000,
  /** A session that lasted this long counts as a success: the next backoff starts from the first wait. */
  stableMs: 10_000,
  /** Silence before a ping, and patience for its answer, until `welcome` names the edge's own. */
  pingIntervalMs: 20_000,
  /** Longest that a draining edge may put the reconnect off. */
  drainMaxMs: 30_000,
  /** Patience for an answer when the page has reason to doubt the connection (it woke up, the network changed). */
  probeMs: 3_000,
  /** An acknowledgement waits for others at most this long. */
  ackIntervalMs: 100,
  /** It is sent at once when this many events wait for it, or a quarter of the edge's window. */
  ackEvents: 64,
  /** Sends on the wire at once; the edge refuses more. The others wait their turn. */
  sendsInFlightMax: 16,
  /** Sends not yet answered. One more is refused with `outbox_full`. */
  sendsMax: 256,
  /** How long after its first transmission a send may be repeated. Then it ends as `indeterminate`. */
  resendHorizonMs: 100_000,
  /** Largest frame that an edge takes, until `welcome` names its own. A larger send is refused here: there it would end the session. */
  frameBytesMax: 65_536,
  /** A new token is asked for when this part of the old one's time is over, from and up to: not all pages at once. */
  renewFrom: 0.7,
  renewTo: 0.9,
  /** How often it is asked for before the old one ends; each time a quarter to a half of what is left is waited. Then it runs out. */
  renewTriesMax: 5,
  /** live becomes behind when this part of the edge's window was delivered and not taken, and live again at or below the other part. */
  behindFrom: 0.5,
  behindTo: 0.25,
  /** Tabs that share a connection wait this long for another leader when theirs goes. Then each connects for itself. */
  takeoverMs: 2_000,
  /** Longest wait until a change is told, where no frame is drawn: in a hidden tab. */
  changeWaitMs: 250,
  /** Ids of applied events kept in `log`. The oldest go. */
  logMax: 10_000,
  /** Runs and user messages kept in `runs`. The oldest go. */
  entriesMax: 2_000,
});
