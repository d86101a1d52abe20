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
