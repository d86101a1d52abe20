// Charts as SVG: lines over time, a small trail, a bar. What is drawn is computed by pure functions (tested without a page).

const NS = "http://www.w3.org/2000/svg";

/** A round number at or above the largest value, so that the scale does not move with every point. */
export function niceMax(largest) {
  if (!(largest > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(largest));
  for (const step of [1, 2, 3, 5, 10]) if (step * power >= largest) return step * power;
  return 10 * power;
}

/**
 * Where the values of a line go: an SVG path, with a break wherever a value is missing.
 * @param {(number | null)[]} values newest last; null: nothing was measured
 * @param {{width: number, height: number, slots: number, max: number}} box slots: how many values fill the width
 */
export function linePath(values, { width, height, slots, max }) {
  const step = width / Math.max(slots - 1, 1);
  const first = slots - values.length;
  let path = "";
  let pen = false;
  values.forEach((value, index) => {
    if (value === null || value === undefined) {
      pen = false;
      return;
    }
    const x = (first + index) * step;
    const y = height - (Math.min(value, max) / max) * height;
    const alone = !pen && (values[index + 1] ?? null) === null;
    path += `${pen ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}${alone ? "h0.5" : ""}`;
    pen = true;
  });
  return path;
}

/** The same values as they would be if no point were left out: missing numbers become null. */
export function spread(numbers, values, slots) {
  if (!numbers.length) return [];
  const last = numbers[numbers.length - 1];
  const from = Math.max(numbers[0], last - slots + 1);
  const out = new Array(last - from + 1).fill(null);
  numbers.forEach((number, index) => {
    if (number >= from) out[number - from] = values[index];
  });
  return out;
}

export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...children);
  return element;
}

const WIDTH = 600;
const HEIGHT = 120;

/** A chart with its title, its newest values as a legend, and its scale. `update(numbers, columns)` draws it anew. */
export function lineChart({ title, lines, format, slots, minutes }) {
  const figure = document.createElement("figure");
  figure.className = "chart";
  const caption = figure.appendChild(document.createElement("figcaption"));
  caption.append(Object.assign(document.createElement("h3"), { textContent: title }));
  const legend = caption.appendChild(document.createElement("p"));
  const values = lines.map((line) => {
    const entry = legend.appendChild(document.createElement("span"));
    entry.className = `key ${line.look}`;
    entry.append(`${line.name} `);
    return entry.appendChild(document.createElement("b"));
  });
  const paths = lines.map((line) => svg("path", { class: `line ${line.look}`, "vector-effect": "non-scaling-stroke" }));
  const grid = [0, 0.5, 1].map((at) => svg("path", { class: "grid", d: `M0 ${HEIGHT * at}H${WIDTH}`, "vector-effect": "non-scaling-stroke" }));
  const picture = svg("svg", { viewBox: `0 -3 ${WIDTH} ${HEIGHT + 6}`, preserveAspectRatio: "none", role: "img" }, ...grid, ...paths);
  const plot = figure.appendChild(document.createElement("div"));
  plot.className = "plot";
  const top = Object.assign(document.createElement("span"), { className: "scale" });
  plot.append(picture, top);
  const axis = figure.appendChild(document.createElement("p"));
  axis.className = "axis";
  axis.setAttribute("aria-hidden", "true");
  for (const text of [`${minutes} min ago`, `${minutes / 2} min`, "now"]) axis.append(Object.assign(document.createElement("span"), { textContent: text }));

  function update(numbers, columns) {
    const drawn = lines.map((line) => spread(numbers, columns[line.column], slots));
    const max = niceMax(Math.max(0, ...drawn.flat().filter((value) => value !== null)));
    const told = [];
    drawn.forEach((series, index) => {
      paths[index].setAttribute("d", linePath(series, { width: WIDTH, height: HEIGHT, slots, max }));
      const newest = series[series.length - 1] ?? null;
      values[index].textContent = newest === null ? "none" : format(newest);
      told.push(`${lines[index].name} ${values[index].textContent}`);
    });
    top.textContent = format(max);
    picture.setAttribute("aria-label", `${title}, now: ${told.join(", ")}`);
  }
  return { element: figure, update };
}

/** A small chart without words, for a row of a table. */
export function trail(slots) {
  const path = svg("path", { class: "line first", "vector-effect": "non-scaling-stroke" });
  const element = svg("svg", { class: "trail", viewBox: "0 -2 100 24", preserveAspectRatio: "none", "aria-hidden": "true" }, path);
  return {
    element,
    update: (values) => path.setAttribute("d", linePath(values.slice(-slots), { width: 100, height: 20, slots, max: niceMax(Math.max(0, ...values)) })),
  };
}

/** A bar from 0 to 1. */
export function bar() {
  const filled = svg("rect", { class: "filled", width: 0, height: 8, rx: 1 });
  const element = svg("svg", { class: "share", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" }, filled);
  return { element, update: (share) => filled.setAttribute("width", (100 * Math.max(0, Math.min(1, share))).toFixed(1)) };
}
