/**
 * Small pieces of page: elements made from text, never from markup, so that nothing an agent says can become part of the page.
 *
 * Rules: every text goes in through `textContent` or a text node; `sync` functions may be called again with newer data and change only what
 * differs, so that selections and open details stay as they are.
 */

/** Characters of a value that are shown; what is longer is cut, and says so. */
const VALUE_CHARS_MAX = 20_000;
/** What is longer gets a box of its own, which is scrolled: characters, and lines. */
const VALUE_PLAIN_MAX = { chars: 400, lines: 8 };
/** Places listed for one run. */
const PLACES_MAX = 12;

/** What may be a path, with a number behind it or none. Whatever it begins it ends: no character is looked at twice. */
const PATH = /[\w./\\-]+(?::\d+)?/g;
/** A file with a line, as answers and tool results name them: `csv.py:82`. */
const PLACE = /\w\.\w+:\d+$/;

/** The files with a line that a text names, where they stand; in time that grows with the text's length. @param {string} text */
export function placesOf(text) {
  return [...text.matchAll(PATH)].filter(([path]) => PLACE.test(path)).map(({ 0: place, index }) => ({ place, index }));
}

/**
 * An element. Attributes are set as given, `class` and `data-...` included; null and false ones are left out.
 * @param {string} tag
 * @param {Record<string, string | number | boolean | null>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElement}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children);
  return made;
}

/** @param {Element} target @param {string} text */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** @param {Element} target @param {string} name @param {string | number} value */
export function setAttribute(target, name, value) {
  if (target.getAttribute(name) !== String(value)) target.setAttribute(name, String(value));
}

/** How long something took, for people. @param {number} milliseconds */
export function duration(milliseconds) {
  if (milliseconds < 1_000) return `${Math.max(0, Math.round(milliseconds))} ms`;
  return milliseconds < 59_950 ? `${(milliseconds / 1_000).toFixed(1)} s` : wholeSeconds(Math.round(milliseconds / 1_000));
}

/** How long something has been going on: what changes as one looks has no tenths. @param {number} milliseconds */
export function soFar(milliseconds) {
  return wholeSeconds(Math.floor(milliseconds / 1_000));
}

/** How long something is thought to take: nobody knows the tenths. @param {number} milliseconds */
export function roughly(milliseconds) {
  return `about ${milliseconds < 1_000 ? duration(milliseconds) : wholeSeconds(Math.round(milliseconds / 1_000))}`;
}

/** @param {number} seconds */
function wholeSeconds(seconds) {
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${seconds % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/**
 * Any JSON value for people: an object as a list of its fields, texts of several lines as blocks, the rest as JSON.
 * @param {unknown} value
 * @param {Record<string, string>} [attributes]
 */
export function valueElement(value, attributes = {}) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return box(cut(plain(value)), attributes);
  const list = element("dl", { class: "fields", ...attributes });
  for (const [name, field] of Object.entries(value)) {
    const text = cut(plain(field));
    list.append(element("dt", {}, name), element("dd", {}, text.includes("\n") || isLong(text) ? box(text) : text));
  }
  return list;
}

/** What may have to be scrolled can be by the keyboard. @param {string} text @param {Record<string, string>} [attributes] */
function box(text, attributes = {}) {
  return element("pre", { class: "value", tabindex: isLong(text) ? 0 : null, ...attributes }, text);
}

/** @param {string} text */
function isLong(text) {
  return text.length > VALUE_PLAIN_MAX.chars || text.split("\n", VALUE_PLAIN_MAX.lines + 1).length > VALUE_PLAIN_MAX.lines;
}

/** @param {unknown} value @returns {string} */
function plain(value) {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return JSON.stringify(value, null, 1);
  if (value.every((part) => typeof part !== "object")) return value.join(", ");
  return value.map(entry).join("\n");
}

/** One line for an entry of a list; one that names a place begins with it. @param {any} value @returns {string} */
function entry(value) {
  if (typeof value?.file !== "string" || typeof value.line !== "number") return JSON.stringify(value);
  const { file, line, name = "", ...rest } = value;
  const fields = Object.entries(rest).map(([key, field]) => `${key} ${plain(field)}`);
  return [`${file}:${line}`, name, ...fields].filter(Boolean).join("   ");
}

/** @param {string} text */
function cut(text) {
  return text.length > VALUE_CHARS_MAX ? `${text.slice(0, VALUE_CHARS_MAX)}\n(${text.length - VALUE_CHARS_MAX} more characters)` : text;
}

/**
 * Places (file and line) that a value names anywhere inside.
 * @param {unknown} value
 * @param {Map<string, {name: string, place: string}>} [found]
 * @param {number} [depth]
 */
export function placesIn(value, found = new Map(), depth = 0) {
  if (typeof value !== "object" || value === null || depth > 4 || found.size >= PLACES_MAX) return found;
  const { file, path, line, name } = /** @type {Record<string, unknown>} */ (value);
  const where = file ?? path;
  if (typeof where === "string" && typeof line === "number") {
    const place = `${where}:${line}`;
    if (!found.has(place)) found.set(place, { name: typeof name === "string" ? name : "", place });
    return found;
  }
  for (const part of Object.values(value)) placesIn(part, found, depth + 1);
  return found;
}

/**
 * Text that grows: lines as blocks, file and line set apart. `textContent` is the text itself, at any time.
 */
export class GrowingText {
  #target;
  #text = "";
  /** How much of the text stands in lines that are complete. */
  #settled = 0;
  /** Whether what follows these is within ``` and ```. */
  #fenced = false;
  /** @type {HTMLElement | null} */
  #last = null;

  /** @param {HTMLElement} target */
  constructor(target) {
    this.#target = target;
  }

  /** @param {string} text */
  sync(text) {
    if (text === this.#text) return;
    if (!text.startsWith(this.#text)) {
      this.#target.replaceChildren();
      this.#settled = 0;
      this.#fenced = false;
      this.#last = null;
    }
    this.#text = text;
    this.#last?.remove();
    this.#last = null;
    for (let end = text.indexOf("\n", this.#settled); end >= 0; end = text.indexOf("\n", this.#settled)) {
      const line = text.slice(this.#settled, end + 1);
      this.#target.append(row(line, this.#fenced));
      if (FENCE.test(line)) this.#fenced = !this.#fenced;
      this.#settled = end + 1;
    }
    if (this.#settled < text.length) {
      this.#last = row(text.slice(this.#settled), this.#fenced);
      this.#target.append(this.#last);
    }
  }

  /** Where text is still to come. @param {boolean} shown */
  caret(shown) {
    for (const old of this.#target.querySelectorAll(".caret")) old.classList.remove("caret");
    if (shown) (this.#target.lastElementChild ?? this.#target).classList.add("caret");
  }
}

/** What begins and ends a block of code. */
const FENCE = /^\s*```/;

/** How a line is dressed, by what it looks like. @type {[RegExp, string][]} */
const ROWS = [
  [/^\s*$/, "blank"],
  [/^ {4}/, "code"],
  [/^\d+\. /, "heading"],
  [/^ /, "inset"],
];

/** One line. @param {string} text @param {boolean} fenced it stands in a block of code */
function row(text, fenced) {
  const dress = FENCE.test(text) ? "code fenced fence" : fenced ? "code fenced" : (ROWS.find(([pattern]) => pattern.test(text))?.[1] ?? "");
  const made = element("span", { class: `row ${dress}`.trim() });
  let from = 0;
  if (dress === "inset") {
    from = text.search(/\S/);
    made.append(element("span", { class: "lead" }, text.slice(0, from)));
  }
  for (const { place, index } of placesOf(text)) {
    made.append(text.slice(from, index), element("cite", { class: "place", "data-testid": "place" }, place));
    from = index + place.length;
  }
  made.append(text.slice(from));
  return made;
}
