// How a page follows a stream of the admin service: whether what it shows is of now, what it says when it is not, and when it asks again.
// `Following` decides, and is pure: it is told what happened, and when. `follow` carries out.
import { ask, Refused } from "../session.js";
import { at, element, hint, text } from "./dom.js";

const AGAIN_MS = 5000;
const TOUCH_MS = 60_000;
const WORDS = { idle: "", live: "Live", stale: "No news; this is old", connecting: "Connecting", ended: "Ended" };

export class Following {
  /** What the page says of its stream, a key of `WORDS`; a notice beside it; and whether that one leads to the login. */
  link;
  notice = "";
  login = false;
  #staleMs;
  #heardAt = Infinity;
  #touchedAt;

  /** `staleMs`: no news for longer is told; `follows`: there is a stream, not only a page that wants a login; `now`: of one clock, in ms. */
  constructor(staleMs, follows, now) {
    this.#staleMs = staleMs;
    this.#touchedAt = now;
    this.link = follows ? "connecting" : "idle";
  }

  /** News came, with a notice; without one the last one stays. */
  heard(now, notice = this.notice) {
    this.#heardAt = now;
    this.link = "live";
    this.notice = notice;
  }

  /** The stream is cut off. What is old stays so until there is news. */
  lost() {
    if (this.link !== "stale") this.link = "connecting";
  }

  /** The server does not want to tell. Returns what to do next: "open" the stream again, or "" for nothing. */
  refused(notice, retry) {
    this.notice = notice;
    if (retry) this.lost();
    else this.link = "idle";
    return retry ? "open" : "";
  }

  ended(notice) {
    this.link = "ended";
    this.notice = notice;
    this.login = true;
    return "";
  }

  /** The session was asked for, because the browser was refused and does not know why; 0: no answer. Returns what to do next. */
  asked(status) {
    if (status === 401) return this.ended("You are not logged in, or the login is over.");
    if (this.link === "ended" || this.link === "idle") return "";
    this.lost();
    return status === 200 ? "open" : "ask"; // a session, and no stream: too many look on
  }

  tick(now) {
    if ((this.link === "live" || this.link === "connecting") && now - this.#heardAt > this.#staleMs) this.link = "stale";
  }

  /** Somebody does something here. Returns whether that is to be told: it uses the login; looking on alone does not keep it. */
  touched(now) {
    if (this.link === "ended" || now - this.#touchedAt < TOUCH_MS) return false;
    this.#touchedAt = now;
    return true;
  }
}

/** Follows the stream at `path` ("" for none). `told`: by name of event, what takes its value, and returns a notice ("": none any more). */
export function follow(path, staleMs, told) {
  const following = new Following(staleMs, path !== "", performance.now());

  function show() {
    at("link").dataset.state = following.link;
    text(at("link"), WORDS[following.link]);
    document.body.classList.toggle("old", following.link !== "live");
    if (at("notice").dataset.words === following.notice) return;
    at("notice").dataset.words = following.notice;
    hint("notice", following.notice);
    if (following.login) at("notice").append(" ", element("a", { href: "/", textContent: "Log in" }));
  }

  function then(next) {
    show();
    if (next) setTimeout(next === "open" ? open : askWhy, AGAIN_MS);
  }

  const askWhy = () => ask("/api/session").then(() => then(following.asked(200)), (error) => then(following.asked(error instanceof Refused ? error.status : 0)));

  function open() {
    const source = new EventSource(path);
    const on = (name, take) => source.addEventListener(name, (event) => take(JSON.parse(event.data)));
    for (const [name, take] of Object.entries(told)) {
      on(name, (value) => {
        following.heard(performance.now(), take(value));
        show();
      });
    }
    on("refused", ({ message, retry }) => {
      source.close();
      then(following.refused(message, retry));
    });
    on("ended", ({ message }) => {
      source.close();
      then(following.ended(message));
    });
    source.onerror = () => {
      following.lost();
      show();
      if (source.readyState === EventSource.CLOSED) askWhy();
    };
  }

  for (const kind of ["pointerdown", "keydown"]) {
    document.addEventListener(kind, () => {
      if (following.touched(performance.now())) ask("/api/session").catch(() => {}); // if it is over, the stream says so
    });
  }
  setInterval(() => {
    following.tick(performance.now());
    show();
  }, 1000);
  show();
  if (path) open();
  else askWhy();
}
