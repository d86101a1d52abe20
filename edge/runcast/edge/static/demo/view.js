/**
 * How runs and what users said look. Each view owns one list item; `sync` brings it to the newest state. A run that another one started
 * stands inside it, where it began, folded once it has ended.
 *
 * Hooks for tests: `data-testid` says what an element is; runs carry `data-run-id`, `data-attempt`, `data-status`, `data-child`; what users
 * said `data-id`, `data-state`. Those of what stands in a run: `items.js`.
 *
 * @typedef {import("/client/runcast.js").Run} Run
 * @typedef {import("/client/runcast.js").Item} Item
 * @typedef {import("/client/runcast.js").UserMessage} UserMessage
 * @typedef {import("./notes.js").RunNotes} RunNotes
 */

import { duration, element, placesIn, roughly, setAttribute, setText } from "./dom.js";
import { CustomView, ErrorView, MessageView, RequestView, ToolView } from "./items.js";

/** What a run's status is called. */
const RUN_WORDS = {
  running: "Working",
  waiting: "Waiting for you",
  completed: "Completed",
  cancelled: "Stopped",
  failed: "Failed",
  lost: "Lost",
};

/** What a user said. */
export class SaidView {
  #aside;
  #waiting = element("p", { class: "aside waiting", "data-testid": "waiting" }, "Waiting for an agent to take it.");

  /** @param {{id: string, text: string, at: number}} said @param {"sending" | "said"} state */
  constructor(said, state) {
    this.#aside = element("p", { class: "aside" });
    this.element = element(
      "li",
      { class: "said", "data-testid": "user-message", "data-id": said.id, "data-state": state },
      element("h3", { class: "words" }, element("span", { class: "spoken" }, "You asked: "), said.text),
      this.#aside,
    );
    if (state === "sending") setText(this.#aside, "Sending");
  }

  /** @param {boolean} unanswered nothing has come of it yet */
  sync(unanswered) {
    if (unanswered && !this.#waiting.isConnected) this.element.append(this.#waiting);
    if (!unanswered) this.#waiting.remove();
  }

  /** It was not stored. @param {string} why @param {() => void} again */
  failed(why, again) {
    this.element.dataset.state = "failed";
    const retry = element("button", { type: "button", class: "link" }, "Try again");
    retry.addEventListener("click", again, { once: true });
    this.#aside.replaceChildren(why, retry);
  }
}

/** One attempt of a run. */
export class RunView {
  attempt;
  isChild;
  #status = element("span", { "data-testid": "run-status" });
  #took = element("span", { class: "took" });
  #title = element("span", { class: "title" });
  #thoughtsCount = element("span", {});
  #thoughtsList = element("ol", {});
  #thoughts = element("details", { class: "thoughts", "data-testid": "thoughts", hidden: true }, element("summary", {}, "Thinking ", this.#thoughtsCount), this.#thoughtsList);
  #items = element("div", { class: "items" });
  #thinking = element("p");
  #steps = element("span", { class: "steps" });
  #progress = element("progress", { max: 1, "aria-label": "Progress", "data-testid": "progress" });
  #thinkingBox = element("div", { class: "thinking", "data-testid": "thinking" }, element("div", { class: "line" }, this.#thinking, this.#steps), this.#progress);
  #ending = element("p", { class: "ending", "data-testid": "ending", hidden: true });
  #retry = element("button", { type: "button", class: "retry", "data-testid": "retry", hidden: true }, "Try again");
  #sources = element("section", { class: "sources", "data-testid": "sources", "aria-label": "Sources", hidden: true });
  /** By item. @type {{sync: (run: Run) => void}[]} */
  #views = [];
  /** Children shown. @type {Set<Element>} */
  #children = new Set();
  #body;
  #foldedByItself = false;
  #answer;

  /**
   * @param {Run} run
   * @param {boolean} isChild it stands inside the run that started it
   * @param {{answer: import("./items.js").Answer, retry: () => void}} does what its buttons do
   */
  constructor(run, isChild, { answer, retry }) {
    this.attempt = run.attempt;
    this.isChild = isChild;
    this.#answer = answer;
    this.#retry.addEventListener("click", retry);
    const head = element(
      isChild ? "summary" : "div",
      { class: "head" },
      element("span", { class: "agent" }, run.agent || "Agent"),
      element("span", { class: "status" }, element("span", { class: "dot", "aria-hidden": "true" }), this.#status),
      this.#took,
      this.#title,
    );
    const parts = [head, this.#thoughts, this.#items, this.#thinkingBox, this.#ending, this.#retry, this.#sources];
    const label = `${isChild ? "Sub-agent" : "Run of"} ${run.agent || "an agent"}`;
    this.#body = isChild ? element("details", { open: true }, ...parts) : element("article", { "aria-label": label }, ...parts);
    this.element = element(
      "li",
      { class: "run", "data-testid": "run", "data-run-id": run.id, "data-attempt": run.attempt, "data-child": isChild },
      this.#body,
    );
  }

  /**
   * @param {Run} run
   * @param {{asked: string, notes: Readonly<RunNotes>, children: Map<string, RunView>, mayRetry: boolean}} about `asked`: what it answers, a
   *   title that repeats it is not shown; `children`: views of its sub-agents; `mayRetry`: the same could be asked again
   */
  sync(run, { asked, notes, children, mayRetry }) {
    setAttribute(this.element, "data-status", run.status);
    setText(this.#status, RUN_WORDS[run.status]);
    setText(this.#took, run.endedAt === null || run.startedAt === null ? "" : duration(run.endedAt - run.startedAt));
    setText(this.#title, plainly(asked).startsWith(plainly(run.title)) ? "" : run.title);
    this.#title.hidden = this.#title.textContent === "";
    this.#syncThinking(run, notes);
    run.items.forEach((item, index) => {
      this.#adopt(notes, children, index);
      this.#views[index] ??= this.#make(item);
      this.#views[index].sync(run);
    });
    this.#adopt(notes, children, run.items.length);
    if (run.endedAt !== null) this.#syncEnd(run);
    this.#retry.hidden = !(mayRetry && (run.status === "failed" || run.status === "lost" || run.status === "cancelled"));
    this.#fold(run);
  }

  /** Say of what is going on how long it has been. @param {(startedAt: number | null) => number | null} elapsed milliseconds */
  tick(elapsed) {
    for (const view of this.#views) if (view instanceof ToolView) view.tick(elapsed);
  }

  /** Show the children that began when there were no more than `upTo` items. @param {Readonly<RunNotes>} notes @param {Map<string, RunView>} children @param {number} upTo */
  #adopt(notes, children, upTo) {
    for (const { id, at } of notes.children) {
      const child = children.get(id)?.element;
      if (at > upTo || child === undefined || this.#children.has(child)) continue;
      this.#children.add(child);
      if (child.parentElement?.closest(".run") === this.element) continue; // a further attempt has taken its place already
      const list = this.#items.lastElementChild;
      if (list?.className === "children") list.append(child);
      else this.#items.append(element("ol", { class: "children", "aria-label": "Sub-agents" }, child));
    }
  }

  /** A child that ended well is folded, once: who unfolds it has it open. @param {Run} run */
  #fold(run) {
    if (!this.isChild || this.#foldedByItself || run.status !== "completed") return;
    this.#foldedByItself = true;
    if (!this.#body.contains(document.activeElement)) this.#body.removeAttribute("open");
  }

  /** @param {Run} run @param {Readonly<RunNotes>} notes */
  #syncThinking({ thinking, endedAt, status }, { thoughts, forgotten }) {
    const past = endedAt === null ? thoughts.slice(0, -1) : thoughts;
    this.#thoughts.hidden = past.length === 0;
    const count = past.length + forgotten;
    setText(this.#thoughtsCount, count === 1 ? "(1 step)" : `(${count} steps)`);
    if (this.#thoughtsList.childElementCount !== past.length || forgotten > 0) {
      past.forEach((text, index) => {
        const line = this.#thoughtsList.children[index] ?? this.#thoughtsList.appendChild(element("li"));
        setText(line, text);
      });
    }
    // While a person is asked, nothing moves: what was done last, and what was left then, would be said about the waiting.
    this.#thinkingBox.hidden = thinking === null || endedAt !== null || status === "waiting";
    if (thinking === null) return;
    setText(this.#thinking, thinking.text);
    const left = thinking.remainingMs === null ? "" : `${roughly(Math.max(1_000, thinking.remainingMs))} left`;
    setText(this.#steps, [thinking.steps ? `${thinking.step} of ${thinking.steps}` : "", left].filter(Boolean).join(", "));
    this.#thinkingBox.dataset.urgency = thinking.urgency;
    if (thinking.progress === null) this.#progress.removeAttribute("value");
    else setAttribute(this.#progress, "value", thinking.progress);
  }

  /** @param {Run} run */
  #syncEnd(run) {
    const lines = {
      completed: run.summary,
      cancelled: run.reason ? sentence(run.reason) : "Stopped before it was done.",
      failed: run.errors.some((error) => error.severity === "fatal") ? "" : "It failed.",
      lost: run.reason ? sentence(run.reason) : "Its agent went away and did not come back.",
    };
    setText(this.#ending, lines[/** @type {keyof typeof lines} */ (run.status)] ?? "");
    this.#ending.hidden = this.#ending.textContent === "";
    const places = [...placesIn(run.result).values()];
    if (places.length > 0 && this.#sources.hidden) {
      const rows = places.map(({ name, place }) =>
        element("li", { "data-testid": "source" }, element("cite", { class: "place" }, place), element("span", {}, name)),
      );
      this.#sources.replaceChildren(element("p", { class: "label" }, "Sources"), element("ol", {}, ...rows));
      this.#sources.hidden = false;
    }
  }

  /** @param {Item} item */
  #make(item) {
    if (item.type === "tool") {
      const view = new ToolView(item);
      const list = this.#items.lastElementChild;
      if (list?.className === "tools") list.append(view.element);
      else this.#items.append(element("ol", { class: "tools", "aria-label": "Tools" }, view.element));
      return view;
    }
    const view = this.#viewOf(item);
    this.#items.append(view.element);
    return view;
  }

  /** @param {Exclude<Item, {type: "tool"}>} item */
  #viewOf(item) {
    switch (item.type) {
      case "message":
        return new MessageView(item);
      case "error":
        return new ErrorView(item);
      case "input":
        return new RequestView(item, this.#answer);
      default:
        return new CustomView(item);
    }
  }
}

/** A text without what shortening and layout change. @param {string} text */
function plainly(text) {
  return text.replace(/(…|\.\.\.)$/, "").replace(/\s+/g, " ").trim();
}

/** @param {string} text */
function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}
