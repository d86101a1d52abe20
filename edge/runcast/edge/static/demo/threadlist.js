/**
 * The list of conversations. Links, so that one can be opened in a tab of its own; a plain click changes the conversation on this page.
 *
 * Hooks for tests: `data-thread`, `data-activity`, `data-unread`.
 *
 * @typedef {import("./threads.js").Thread} Thread
 */

import { element, setAttribute, setText } from "./dom.js";

/** What stands beside a conversation's title. */
const ACTIVITY_WORDS = { "": "", working: "Working", waiting: "Waiting for you" };

export class ThreadList {
  #list;
  #hrefOf;
  #choose;
  /** @type {Map<string, {item: HTMLElement, link: HTMLElement, title: HTMLElement, mark: HTMLElement}>} */
  #rows = new Map();

  /**
   * @param {HTMLElement} list
   * @param {(id: string) => string} hrefOf the address at which a conversation is shown
   * @param {(id: string) => void} choose
   */
  constructor(list, hrefOf, choose) {
    this.#list = list;
    this.#hrefOf = hrefOf;
    this.#choose = choose;
  }

  /** @param {Thread[]} threads in the order of the list @param {string} current @param {ReadonlySet<string>} unread */
  sync(threads, current, unread) {
    const ids = new Set(threads.map(({ id }) => id));
    for (const [id, { item }] of this.#rows) {
      if (ids.has(id)) continue;
      item.remove();
      this.#rows.delete(id);
    }
    const focused = document.activeElement;
    threads.forEach(({ id, title, activity }, index) => {
      const row = this.#rows.get(id) ?? this.#make(id);
      setText(row.title, title);
      setText(row.mark, ACTIVITY_WORDS[activity] || (unread.has(id) ? "New" : ""));
      setAttribute(row.item, "data-activity", activity);
      setAttribute(row.item, "data-unread", String(unread.has(id)));
      if (id === current) row.link.setAttribute("aria-current", "page");
      else row.link.removeAttribute("aria-current");
      if (this.#list.children[index] !== row.item) this.#list.insertBefore(row.item, this.#list.children[index] ?? null);
    });
    // An element that is moved loses the focus.
    if (focused instanceof HTMLElement && this.#list.contains(focused) && document.activeElement !== focused) focused.focus();
  }

  /** @param {string} id */
  #make(id) {
    const title = element("span", { class: "name" });
    const mark = element("span", { class: "mark" });
    const link = element("a", { href: this.#hrefOf(id) }, title, " ", mark);
    link.addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
      event.preventDefault();
      this.#choose(id);
    });
    const row = { item: element("li", { "data-testid": "thread", "data-thread": id }, link), link, title, mark };
    this.#rows.set(id, row);
    return row;
  }
}
