/**
 * Who a page is to the edge, and what it keeps for its next load: the browser's storage, and ids.
 *
 * Rules: storage that is absent, blocked or full costs what would lie in it and nothing else.
 */

/** @param {"localStorage" | "sessionStorage"} area @returns {Storage | undefined} undefined when the browser forbids it */
export function storage(area) {
  try {
    return globalThis[area];
  } catch {
    return undefined;
  }
}

/** @param {"localStorage" | "sessionStorage"} area @param {string} key @param {string} value "" removes it */
export function keep(area, key, value) {
  try {
    if (value) storage(area)?.setItem(key, value);
    else storage(area)?.removeItem(key);
  } catch {
    // Full, or written to from a frame that may not: the next load begins without it.
  }
}

/** Whose stream a token opens, as far as it says so: a development token as a whole, a JWT's issuer and subject. @param {string} token */
export function ownerOf(token) {
  if (token.startsWith("dev.")) return token;
  try {
    const { iss = "", sub = "" } = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    return sub && `${iss} ${sub}`;
  } catch {
    return ""; // opaque: without `options.user` no position is stored, and the edge's cursor for this device serves
  }
}

/** Device ids in use on this page. @type {Set<string>} */
const devicesHere = new Set();

/**
 * The tab's device id: the same after a reload. It lies in storage only while no page of the tab is there to use it, because a browser
 * copies the storage when a tab is duplicated, and two devices must never share an id.
 * @param {AbortSignal} signal
 */
export function deviceOfTab(signal) {
  const key = "runcast.device";
  const kept = storage("sessionStorage")?.getItem(key);
  const device = kept && !devicesHere.has(kept) ? kept : newId();
  devicesHere.add(device);
  keep("sessionStorage", key, "");
  addEventListener("pagehide", () => keep("sessionStorage", key, device), { signal });
  addEventListener("pageshow", ({ persisted }) => persisted && keep("sessionStorage", key, ""), { signal });
  return device;
}

/**
 * The device id of all tabs that share a connection: this browser's, for this user. Where it can't be kept, the tab's own.
 * @param {string} owner
 * @param {AbortSignal} signal
 */
export function deviceOfBrowser(owner, signal) {
  const key = `runcast.device ${owner}`;
  const kept = () => storage("localStorage")?.getItem(key);
  if (!kept()) keep("localStorage", key, newId());
  return kept() || deviceOfTab(signal);
}

/** 128 random bits; `crypto.randomUUID` is missing on pages that are not secure. */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
