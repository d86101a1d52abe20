/**
 * How what stands within a run looks: tools, messages, errors, questions. Each view owns one element; `sync` brings it to the newest state.
 *
 * Hooks for tests: `data-testid` says what an element is; tools carry `data-tool`, `data-tool-call-id`, `data-status`; questions
 * `data-request-id`, `data-status`; messages `data-message-id`, `data-final`; errors `data-severity`.
 *
 * @typedef {import("/client/runcast.js").Run} Run
 * @typedef {import("/client/runcast.js").Tool} Tool
 * @typedef {import("/client/runcast.js").Message} Message
 * @typedef {import("/client/runcast.js").RunError} RunError
 * @typedef {import("/client/runcast.js").InputRequest} InputRequest
 * @typedef {import("/client/runcast.js").CustomItem} CustomItem
 * @typedef {(request: InputRequest, value: unknown) => Promise<boolean>} Answer whether it was taken
 */

import { duration, element, GrowingText, roughly, setAttribute, setText, soFar, valueElement } from "./dom.js";

/** A tool's status: mark and word. @type {Record<string, [string, string]>} */
const TOOL_WORDS = {
  running: ["●", "running"],
  ok: ["✓", "done"],
  error: ["✕", "failed"],
  cancelled: ["■", "cancelled"],
  lost: ["?", "unknown"],
};

/** What an error means for its run. @type {Record<string, string>} */
const ERROR_WORDS = {
  fatal: "It could not go on",
  degraded: "Not everything works",
  recoverable: "Something went wrong",
};

/** What became of a question, before what the run went on with. @type {Record<string, string>} */
const OUTCOME_WORDS = { answered: "Answered: ", defaulted: "Not answered in time; assumed: " };

/** What an approval is answered with. */
const APPROVAL = /** @type {[string, unknown][]} */ ([
  ["Approve", true],
  ["Deny", false],
]);

export class ToolView {
  #tool;
  #mark = element("span", { class: "mark", "aria-hidden": "true" });
  #word = element("span", { class: "word" });
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
      element("span", { class: "state" }, this.#word, " ", this.#took),
    );
    const inside = element("div", { class: "inside" });
    if (tool.args !== undefined) inside.append(element("p", { class: "label" }, "Arguments"), valueElement(tool.args, { "data-testid": "tool-args" }));
    inside.append(this.#result);
    this.element = element(
      "li",
      { class: "tool", "data-testid": "tool", "data-tool": tool.tool, "data-tool-call-id": tool.callId },
      element("details", {}, summary, inside),
    );
  }

  /** Say how long it has been running. @param {(startedAt: number | null) => number | null} elapsed milliseconds */
  tick(elapsed) {
    const { status, estimateMs, startedAt } = this.#tool;
    if (status !== "running") return;
    const taken = elapsed(startedAt) ?? 0;
    const estimate = estimateMs === null ? "" : roughly(estimateMs);
    // The first moment is not worth a word, and most tools are done in it.
    setText(this.#took, taken < 1_000 ? estimate : [soFar(taken), estimate].filter(Boolean).join(" of "));
  }

  sync() {
    const { status, durationMs, error, result } = this.#tool;
    if (status === this.#shown) return;
    this.#shown = status;
    const [mark, word] = TOOL_WORDS[status] ?? ["?", status];
    setAttribute(this.element, "data-status", status);
    setText(this.#mark, mark);
    setText(this.#word, word);
    setText(this.#took, durationMs === null ? "" : duration(durationMs));
    if (error) this.#result.append(element("p", { class: "label" }, "Error"), element("p", { "data-testid": "tool-error" }, error));
    if (result !== undefined) {
      this.#result.append(element("p", { class: "label" }, "Result"), valueElement(result, { "data-testid": "tool-result" }));
    }
  }
}

export class MessageView {
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

export class RequestView {
  #request;
  #choices;
  #outcome = element("p", { class: "outcome", "data-testid": "request-outcome", hidden: true });
  #deadline = element("p", { class: "aside" });
  #sending = false;

  /** @param {InputRequest} request @param {Answer} answer */
  constructor(request, answer) {
    this.#request = request;
    this.#choices = element("form", { class: "choices", role: "group", "aria-label": request.prompt });
    this.element = element(
      "div",
      { class: "request", "data-testid": "request", "data-request-id": request.requestId, "data-type": request.inputType },
      element("p", { class: "prompt" }, request.prompt),
      this.#choices,
      this.#deadline,
      this.#outcome,
    );
    const choices = request.inputType === "approval" ? APPROVAL : request.options.map((option) => /** @type {[string, unknown]} */ ([option, option]));
    for (const [word, value] of choices) {
      const button = element("button", { type: "button" }, word);
      button.addEventListener("click", () => this.#send(value, answer));
      this.#choices.append(button);
    }
    if (choices.length === 0) {
      const input = /** @type {HTMLInputElement} */ (element("input", { name: "answer", required: true, autocomplete: "off", "aria-label": request.prompt }));
      this.#choices.append(input, element("button", {}, "Answer"));
    }
    this.#choices.addEventListener("submit", (event) => {
      event.preventDefault();
      const input = this.#choices.querySelector("input");
      if (input) this.#send(input.value, answer);
    });
  }

  sync() {
    const { status, value, inputType, expiresAt, default: assumed } = this.#request;
    const open = status === "open";
    setAttribute(this.element, "data-status", status);
    this.#choices.hidden = !open;
    for (const control of this.#choices.querySelectorAll("button, input")) control.toggleAttribute("disabled", this.#sending);
    this.#deadline.hidden = !open || expiresAt === null;
    if (open && expiresAt !== null) {
      const until = new Date(expiresAt).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      setText(this.#deadline, `Until ${until}${assumed === undefined ? "" : `; then it goes on with “${this.#word(assumed, inputType)}”`}.`);
    }
    this.#outcome.hidden = open && !this.#sending;
    if (open) {
      setText(this.#outcome, this.#sending ? "Sending your answer" : "");
      return;
    }
    const words = OUTCOME_WORDS[status];
    setText(this.#outcome, words ? words + this.#word(value, inputType) : "Not asked any more.");
  }

  /** @param {unknown} value @param {Answer} answer */
  async #send(value, answer) {
    if (this.#sending) return;
    this.#sending = true;
    this.sync();
    // What was taken stays as it is until the stream says what the run made of it.
    if (await answer(this.#request, value)) return;
    this.#sending = false;
    this.sync();
  }

  /** @param {unknown} value @param {string} inputType */
  #word(value, inputType) {
    const word = inputType === "approval" ? { true: "Approved", false: "Denied" }[String(value)] : undefined;
    return word ?? (typeof value === "string" ? value : JSON.stringify(value ?? null));
  }
}

export class ErrorView {
  #aside;
  #passing;

  /** @param {RunError} error */
  constructor({ severity, category, message, suggestions, retrying, retryAfterMs }) {
    const later = retryAfterMs === null ? "" : `in ${duration(retryAfterMs)}`;
    const words = retrying ? `It is trying again${later && ` ${later}`}.` : later && `It is worth trying again ${later}.`;
    this.element = element(
      "div",
      { class: "trouble", "data-testid": "error", "data-severity": severity },
      element("p", { class: "heading" }, ERROR_WORDS[severity] ?? "Something went wrong"),
      element("p", {}, message || category || "Nothing more is known."),
    );
    if (suggestions.length > 0) {
      const list = element("ul", { "data-testid": "suggestions" }, ...suggestions.map((text) => element("li", {}, text)));
      this.element.append(element("p", { class: "label" }, "What you can do"), list);
    }
    this.#aside = element("p", { class: "aside", hidden: words === "" }, words);
    this.element.append(this.#aside);
    this.#passing = retrying;
  }

  /** @param {Run} run */
  sync(run) {
    if (this.#passing && run.endedAt !== null) this.#aside.hidden = true; // a run that has ended tries nothing
  }
}

export class CustomView {
  /** @param {CustomItem} item */
  constructor({ name, data }) {
    this.element = element("div", { class: "custom", "data-testid": "custom" }, element("p", { class: "label" }, name), valueElement(data ?? null));
  }

  sync() {}
}
