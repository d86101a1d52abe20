/**
 * How runs and what users said look. Each view owns one list item; `sync` brings it to the newest state.
 *
 * Hooks for tests: `data-testid` says what an element is; runs carry `data-run-id`, `data-attempt`, `data-status`; tools `data-tool`,
 * `data-tool-call-id`, `data-status`; questions `data-request-id`, `data-status`; messages `data-message-id`, `data-final`; what users said `data-id`, `data-state`.
 *
 * @typedef {import("/client/runcast.js").Run} Run
 * @typedef {import("/client/runcast.js").Tool} Tool
 * @typedef {import("/client/runcast.js").Message} Message
 * @typedef {import("/client/runcast.js").RunError} RunError
 * @typedef {import("/client/runcast.js").InputRequest} InputRequest
 * @typedef {import("/client/runcast.js").Item} Item
 * @typedef {import("/client/runcast.js").UserMessage} UserMessage
 */

import { duration, element, GrowingText, placesIn, setAttribute, setText, valueElement } from "./dom.js";

/** What a run's status is called. */
const RUN_WORDS = {
  running: "Working",
  waiting: "Waiting for you",
  completed: "Completed",
  cancelled: "Stopped",
  failed: "Failed",
  lost: "Lost",
};

/** A tool's status: mark and word. @type {Record<string, [string, string]>} */
const TOOL_WORDS = {
  running: ["●", "running"],
  ok: ["✓", "done"],
  error: ["✕", "failed"],
  cancelled: ["■", "cancelled"],
  lost: ["?", "unknown"],
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
      element("p", { class: "words" }, element("span", { class: "spoken" }, "You asked: "), said.text),
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
  #status = element("span", { "data-testid": "run-status" });
  #took = element("span", { class: "took" });
  #title = element("span", { class: "title" });
  #items = element("div", { class: "items" });
  #thinking = element("p");
  #steps = element("span", { class: "steps" });
  #progress = element("progress", { max: 1, "aria-label": "Progress", "data-testid": "progress" });
  #thinkingBox = element("div", { class: "thinking", "data-testid": "thinking" }, element("div", { class: "line" }, this.#thinking, this.#steps), this.#progress);
  #ending = element("p", { class: "ending", "data-testid": "ending", hidden: true });
  #sources = element("section", { class: "sources", "data-testid": "sources", hidden: true });
  /** By item. @type {{sync: (run: Run) => void}[]} */
  #views = [];
  #answer;

  /**
   * @param {Run} run
   * @param {(request: InputRequest, value: unknown) => void} answer
   */
  constructor(run, answer) {
    this.attempt = run.attempt;
    this.#answer = answer;
    const head = element(
      "div",
      { class: "head" },
      element("span", { class: "agent" }, run.agent || "Agent"),
      element("span", { class: "status" }, element("span", { class: "dot", "aria-hidden": "true" }), this.#status),
      this.#took,
      this.#title,
    );
    this.element = element(
      "li",
      { class: "run", "data-testid": "run", "data-run-id": run.id, "data-attempt": run.attempt, "data-child": run.parentRunId !== "" },
      element("article", { "aria-label": `Run of ${run.agent || "an agent"}` }, head, this.#items, this.#thinkingBox, this.#ending, this.#sources),
    );
  }

  /** @param {Run} run @param {string} asked what it answers: a title that repeats it is not shown */
  sync(run, asked) {
    setAttribute(this.element, "data-status", run.status);
    setText(this.#status, RUN_WORDS[run.status]);
    setText(this.#took, run.endedAt === null || run.startedAt === null ? "" : duration(run.endedAt - run.startedAt));
    setText(this.#title, plainly(asked).startsWith(plainly(run.title)) ? "" : run.title);
    this.#title.hidden = this.#title.textContent === "";
    this.#syncThinking(run);
    run.items.forEach((item, index) => {
      this.#views[index] ??= this.#make(item);
      this.#views[index].sync(run);
    });
    if (run.endedAt !== null) this.#syncEnd(run);
  }

  /** @param {Run} run */
  #syncThinking({ thinking, endedAt, status }) {
    // While a person is asked, nothing moves: what was done last, and what was left then, would be said about the waiting.
    this.#thinkingBox.hidden = thinking === null || endedAt !== null || status === "waiting";
    if (thinking === null) return;
    setText(this.#thinking, thinking.text);
    const left = thinking.remainingMs === null ? "" : `about ${Math.max(1, Math.round(thinking.remainingMs / 1000))} s left`;
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
      this.#sources.replaceChildren(element("h3", {}, "Sources"), element("ol", {}, ...rows));
      this.#sources.hidden = false;
    }
  }

  /** @param {Item} item */
  #make(item) {
    switch (item.type) {
      case "tool": {
        const view = new ToolView(item);
        const list = this.#items.lastElementChild;
        if (list?.className === "tools") list.append(view.element);
        else this.#items.append(element("ol", { class: "tools", "aria-label": "Tools" }, view.element));
        return view;
      }
      case "message": {
        const view = new MessageView(item);
        this.#items.append(view.element);
        return view;
      }
      case "error":
        this.#items.append(trouble(item));
        break;
      case "input": {
        const view = new RequestView(item, this.#answer);
        this.#items.append(view.element);
        return view;
      }
      case "custom":
        this.#items.append(
          element("div", { class: "custom", "data-testid": "custom" }, item.name, valueElement(item.data ?? null)),
        );
    }
    return { sync() {} };
  }
}

class ToolView {
  #tool;
  #mark = element("span", { class: "mark", "aria-hidden": "true" });
  #word = element("span", { class: "spoken" });
  #took = element("span", { class: "took" });
  #result = element("div");
  #shown = "";

  /** @param {Tool} tool */
  constructor(tool) {
    this.#tool = tool;
    const summary = element(
      "summary",
      {},
      this.#mark,
      element("span", { class: "name" }, tool.tool),
      element("span", { class: "purpose" }, tool.purpose),
      element("span", {}, this.#word, this.#took),
    );
    const inside = element("div", { class: "inside" });
    if (tool.args !== undefined) inside.append(element("h4", {}, "Arguments"), valueElement(tool.args, { "data-testid": "tool-args" }));
    inside.append(this.#result);
    this.element = element(
      "li",
      { class: "tool", "data-testid": "tool", "data-tool": tool.tool, "data-tool-call-id": tool.callId },
      element("details", {}, summary, inside),
    );
  }

  sync() {
    const { status, durationMs, error, result } = this.#tool;
    if (status === this.#shown) return;
    this.#shown = status;
    const [mark, word] = TOOL_WORDS[status] ?? ["?", status];
    setAttribute(this.element, "data-status", status);
    setText(this.#mark, mark);
    setText(this.#word, `${word} `);
    setText(this.#took, durationMs === null ? "" : duration(durationMs));
    if (error) this.#result.append(element("h4", {}, "Error"), element("p", { "data-testid": "tool-error" }, error));
    if (result !== undefined) {
      this.#result.append(element("h4", {}, "Result"), valueElement(result, { "data-testid": "tool-result" }));
    }
  }
}

class MessageView {
  #message;
  #text;

  /** @param {Message} message */
  constructor(message) {
    this.#message = message;
    this.element = element("div", { class: "message", "data-testid": "message", "data-message-id": message.id });
    this.#text = new GrowingText(this.element);
  }

  /** @param {Run} run */
  sync(run) {
    this.#text.sync(this.#message.text);
    this.#text.caret(!this.#message.final && run.endedAt === null);
    setAttribute(this.element, "data-final", String(this.#message.final));
  }
}

class RequestView {
  #request;
  #choices = element("form", { class: "choices" });
  #outcome = element("p", { class: "outcome", "data-testid": "request-outcome", hidden: true });

  /** @param {InputRequest} request @param {(request: InputRequest, value: unknown) => void} answer */
  constructor(request, answer) {
    this.#request = request;
    this.element = element("div", { class: "request", "data-testid": "request", "data-request-id": request.requestId }, element("p", {}, request.prompt), this.#choices, this.#outcome);
    /** @type {[string, unknown][]} */
    const choices = request.inputType === "approval" ? [["Yes", true], ["No", false]] : request.options.map((option) => [option, option]);
    for (const [word, value] of choices) {
      const button = element("button", { type: "button" }, word);
      button.addEventListener("click", () => answer(request, value));
      this.#choices.append(button);
    }
    if (choices.length === 0) {
      const input = /** @type {HTMLInputElement} */ (element("input", { name: "answer", required: true, "aria-label": request.prompt }));
      this.#choices.append(input, element("button", {}, "Answer"));
      this.#choices.addEventListener("submit", (event) => {
        event.preventDefault();
        answer(request, input.value);
      });
    }
  }

  sync() {
    const { status, value } = this.#request;
    setAttribute(this.element, "data-status", status);
    this.#choices.hidden = status !== "open";
    this.#outcome.hidden = status === "open";
    const said = value === true ? "Yes" : value === false ? "No" : typeof value === "string" ? value : JSON.stringify(value ?? null);
    const words = status === "answered" ? "Answered" : status === "defaulted" ? "Not answered in time; assumed" : "";
    setText(this.#outcome, words ? `${words}: ${said}` : "Not asked any more.");
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

/** @param {RunError} error */
function trouble(error) {
  const made = element(
    "div",
    { class: "trouble", "data-testid": "error", "data-severity": error.severity },
    element("p", {}, error.message || error.category || "Something failed.", error.retrying ? " It is trying again." : ""),
  );
  if (error.suggestions.length > 0) made.append(element("ul", {}, ...error.suggestions.map((text) => element("li", {}, text))));
  return made;
}
