// Making and changing elements. Everything shown is text; nothing is made into markup.

export const at = (id) => document.getElementById(id);

export const element = (name, props = {}, ...children) => {
  const made = Object.assign(document.createElement(name), props);
  made.append(...children);
  return made;
};

export function text(node, value) {
  if (node.textContent !== value) node.textContent = value; // what does not change is not told again by screen readers
}

/** Rows of a table or list by key, in order; `make` builds one, which has an `update`. */
export function rowsOf(body, make) {
  const rows = new Map();
  return (entries) => {
    const wanted = new Set(entries.map(([key]) => key));
    for (const [key, row] of rows) {
      if (wanted.has(key)) continue;
      row.element.remove();
      rows.delete(key);
    }
    entries.forEach(([key, value], index) => {
      let row = rows.get(key);
      if (!row) rows.set(key, (row = make()));
      if (body.children[index] !== row.element) body.insertBefore(row.element, body.children[index] ?? null);
      row.update(value, key);
    });
  };
}

export function cells(kinds) {
  const made = kinds.map((kind) => element("td", { className: kind }));
  return { made, tell: (index, value) => text(made[index], value) };
}

export function hint(id, words) {
  text(at(id), words);
  at(id).hidden = !words;
}

/** Tiles with a figure each; `[id, name, ...]` of each. */
export function makeTiles(tiles) {
  for (const [id, name] of tiles) {
    at("tiles").append(element("div", { className: "tile", id: `tile-${id}` }, element("dt", { textContent: name }), element("dd", { textContent: "–" })));
  }
}

/** A line of a list: what, how it is, and more of it. */
export function line() {
  const head = element("b");
  const how = element("span", { className: "state" });
  const rest = element("span", { className: "reason" });
  return { element: element("li", {}, head, how, rest), head, how, rest };
}
