/**
 * What the page remembers of a run beside the client's state: what it was occupied with before, and where in it its sub-agents began.
 *
 * Rules: fed with every event that was applied, in order, so that a reload, another tab and another device remember the same. A higher
 * attempt begins anew. Streams order the events of a run, not those of several: a child may come before its parent. Pure; imports nothing.
 * Bound: `THOUGHTS_MAX` for each run; past it the oldest go, and are counted.
 *
 * @typedef {{id: string, at: number}} ChildNote `at`: how many items its parent had when it began
 * @typedef {{attempt: number, thoughts: string[], forgotten: number, children: ChildNote[]}} RunNotes `attempt`: 0 while only children
 *   have been heard of
 */

/** Thoughts kept of one run: more than anybody unfolds to read. */
export const THOUGHTS_MAX = 60;

/** @type {RunNotes} */
const NOTHING = Object.freeze({ attempt: 0, thoughts: [], forgotten: 0, children: [] });

export class Notes {
  /** @type {Map<string, RunNotes>} */
  #runs = new Map();

  /** @param {string} runId @returns {Readonly<RunNotes>} */
  of(runId) {
    return this.#runs.get(runId) ?? NOTHING;
  }

  /**
   * @param {{kind: string, data: {[field: string]: any}}} event
   * @param {{id: string, attempt: number, parentRunId: string} | null} run the run that it belongs to
   * @param {(runId: string) => {attempt: number, items: readonly unknown[]} | undefined} find a run by its id
   */
  take({ kind, data }, run, find) {
    if (run === null) return;
    const notes = this.#notesOf(run);
    if (kind === "agent_thinking") this.#think(notes, data.text ?? "");
    if (run.parentRunId === "") return;
    const parent = find(run.parentRunId);
    const { children } = this.#notesOf({ id: run.parentRunId, attempt: parent?.attempt ?? 0 });
    if (!children.some((child) => child.id === run.id)) children.push({ id: run.id, at: parent?.items.length ?? 0 });
  }

  /** Keep only runs that are known still. @param {(runId: string) => boolean} known */
  prune(known) {
    for (const [id, { attempt, children }] of this.#runs) {
      const expected = attempt === 0 && children.some((child) => known(child.id));
      if (!known(id) && !expected) this.#runs.delete(id);
    }
  }

  /** Drop everything: the stream begins anew. */
  reset() {
    this.#runs.clear();
  }

  /** @param {RunNotes} notes @param {string} text */
  #think(notes, text) {
    // Progress comes under the same words again and again.
    if (text === "" || text === notes.thoughts.at(-1)) return;
    notes.thoughts.push(text);
    if (notes.thoughts.length <= THOUGHTS_MAX) return;
    notes.thoughts.shift();
    notes.forgotten += 1;
  }

  /** @param {{id: string, attempt: number}} run @returns {RunNotes} */
  #notesOf({ id, attempt }) {
    let notes = this.#runs.get(id);
    if (notes?.attempt === 0) notes.attempt = attempt;
    if (notes === undefined || notes.attempt < attempt) {
      notes = { attempt, thoughts: [], forgotten: 0, children: [] };
      this.#runs.set(id, notes);
    }
    return notes;
  }
}
