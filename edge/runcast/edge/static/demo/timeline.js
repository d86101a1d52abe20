/**
 * One conversation as a list of what was said and the runs that answer it, with sub-agents inside the runs that started them.
 *
 * Rules: `sync` may be called at any time and brings the list to the newest state; views stay while what they show stays, so that open
 * details, selections and the focus do too.
 *
 * @typedef {import("/client/runcast.js").Entry} Entry
 * @typedef {import("/client/runcast.js").Run} Run
 * @typedef {import("/client/runcast.js").InputRequest} InputRequest
 * @typedef {import("/client/runcast.js").UserMessage} UserMessage
 * @typedef {import("./notes.js").Notes} Notes
 */

import { RunView, SaidView } from "./view.js";

export class Timeline {
  #list;
  #notes;
  #does;
  /** @type {Map<string, SaidView>} */
  #said = new Map();
  /** @type {Map<string, RunView>} */
  #runs = new Map();

  /**
   * @param {HTMLElement} list
   * @param {Notes} notes
   * @param {{answer: (run: Run, request: InputRequest, value: unknown) => Promise<boolean>, again: (said: UserMessage) => void}} does what its
   *   buttons do; `again` asks the same once more
   */
  constructor(list, notes, does) {
    this.#list = list;
    this.#notes = notes;
    this.#does = does;
  }

  /** Show nothing: another conversation, or the stream begins anew. */
  clear() {
    this.#list.replaceChildren();
    this.#said.clear();
    this.#runs.clear();
  }

  /** @param {readonly Entry[]} entries of one conversation, in the order of the stream */
  sync(entries) {
    /** @type {Map<string, UserMessage>} */
    const said = new Map();
    /** @type {Map<string, Run>} */
    const runs = new Map();
    for (const entry of entries) {
      if (entry.type === "user") said.set(entry.id, entry);
      else runs.set(entry.id, entry);
    }
    const roots = entries.filter((entry) => entry.type === "user" || !runs.has(entry.parentRunId));
    const answered = new Set([...runs.values()].map((run) => run.replyTo));
    this.#forget(said, runs);
    // Views first: a run adopts those of its children.
    for (const run of runs.values()) this.#viewOf(run, runs.has(run.parentRunId), said);
    let before = "";
    for (const entry of roots) {
      if (entry.type === "user") {
        before = entry.text;
        this.#saidOf(entry).sync(entry === entries.at(-1) && !answered.has(entry.id));
        continue;
      }
      const view = /** @type {RunView} */ (this.#runs.get(entry.id));
      if (!view.element.isConnected) this.#list.append(view.element);
      const asked = said.get(entry.replyTo)?.text ?? before;
      view.sync(entry, this.#about(entry, asked, entry === roots.at(-1) && said.has(entry.replyTo)));
    }
    for (const run of runs.values()) {
      if (runs.has(run.parentRunId)) this.#runs.get(run.id)?.sync(run, this.#about(run, "", false));
    }
  }

  /**
   * Say of what is going on how long it has been.
   * @param {readonly Run[]} open @param {(runId: string, startedAt: number | null) => number | null} elapsed milliseconds
   */
  tick(open, elapsed) {
    for (const { id } of open) this.#runs.get(id)?.tick((startedAt) => elapsed(id, startedAt));
  }

  /** @param {Run} run @param {string} asked @param {boolean} mayRetry */
  #about(run, asked, mayRetry) {
    return { asked, mayRetry, notes: this.#notes.of(run.id), children: this.#runs };
  }

  /** @param {ReadonlyMap<string, UserMessage>} said @param {ReadonlyMap<string, Run>} runs */
  #forget(said, runs) {
    for (const [id, view] of this.#said) {
      if (said.has(id)) continue;
      view.element.remove();
      this.#said.delete(id);
    }
    for (const [id, view] of this.#runs) {
      if (runs.has(id)) continue;
      view.element.remove();
      this.#runs.delete(id);
    }
  }

  /** @param {UserMessage} entry */
  #saidOf(entry) {
    let view = this.#said.get(entry.id);
    if (view === undefined) {
      view = new SaidView(entry, "said");
      this.#said.set(entry.id, view);
      this.#list.append(view.element);
    }
    return view;
  }

  /** @param {Run} run @param {boolean} isChild @param {ReadonlyMap<string, UserMessage>} said */
  #viewOf(run, isChild, said) {
    const known = this.#runs.get(run.id);
    if (known?.attempt === run.attempt && known.isChild === isChild) return;
    const made = new RunView(run, isChild, {
      answer: (request, value) => this.#does.answer(run, request, value),
      retry: () => {
        const asked = said.get(run.replyTo);
        if (asked) this.#does.again(asked);
      },
    });
    if (known?.isChild === isChild) known.element.replaceWith(made.element);
    else known?.element.remove(); // its parent is known now, and takes it in
    this.#runs.set(run.id, made);
  }
}
