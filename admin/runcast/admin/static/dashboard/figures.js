// What the server tells, kept and judged; pure. No page, no clock.

/** What one can be alarmed of: `read` takes the newest message; null means nothing is known. */
export const WATCHED = [
  { id: "gone", name: "Processes gone", unit: "", at: 1, read: (now) => Object.values(now.roles).reduce((sum, role) => sum + role.gone, 0) },
  { id: "unwell", name: "Processes that are not ok", unit: "", at: 1, read: (now) => now.processes.filter((each) => !["ok", "gone"].includes(each.state)).length },
  { id: "oldest", name: "Oldest unacknowledged", unit: "s", at: 10, read: (now) => now.point?.oldest_s ?? null },
  { id: "behind", name: "Devices behind", unit: "", at: 10, read: (now) => now.point?.behind ?? null },
  { id: "alerts", name: "Delivery alerts in 5 min", unit: "", at: 1, read: (now) => (now.alerts ?? []).filter((each) => now.at_ms - each.at_ms < ALERTS_MS).length },
  { id: "send", name: "p99 agent to device", unit: "ms", at: 1000, read: (now) => now.point?.send_p99 ?? null },
  { id: "ack", name: "p99 agent to ack", unit: "ms", at: 2000, read: (now) => now.point?.ack_p99 ?? null },
  { id: "refused", name: "Refusals", unit: "/s", at: 10, read: (now) => now.point?.refused ?? null },
];

const ALERTS_MS = 5 * 60_000;

/** What a field holds: `{value}`, null for no alarm; or `{problem}`, and the threshold of before counts. */
export function thresholdOf(text, isNumber) {
  if (text.trim() === "" && isNumber) return { value: null };
  const value = Number(text);
  return isNumber && Number.isFinite(value) && value > 0 ? { value } : { problem: "More than 0, or empty for no alarm." };
}

/** Thresholds by id: what was kept, where it can be used, else the defaults; null: no alarm. */
export function thresholds(kept) {
  const chosen = kept && typeof kept === "object" ? kept : {};
  return Object.fromEntries(
    WATCHED.map(({ id, at }) => {
      const value = chosen[id];
      return [id, value === null || (Number.isFinite(value) && value > 0) ? value : at];
    }),
  );
}

/** What is at or over its threshold now, and what says that it is not well. */
export function alarms(now, limits) {
  const found = [];
  for (const { id, name, unit, read } of WATCHED) {
    const value = read(now);
    if (value !== null && limits[id] !== null && value >= limits[id]) found.push({ id, name, value, unit, limit: limits[id] });
  }
  return found;
}

/** The points of the last minutes, by column. */
export class Points {
  constructor() {
    this.columns = { n: [] };
    this.slots = 1;
    this.trails = new Map();
    this.trailSlots = 90;
  }

  /** The server's first message. */
  begin({ points, point_s: pointS, span_s: spanS, trails }) {
    this.columns = points;
    this.slots = Math.round(spanS / pointS);
    this.trails = new Map(Object.entries(trails));
  }

  /** A further message; returns whether it brought a new point. */
  add({ point, processes }) {
    const numbers = this.columns.n;
    if (!point || point.n === numbers[numbers.length - 1]) return false;
    for (const [name, column] of Object.entries(this.columns)) {
      column.push(point[name] ?? null);
      if (column.length > this.slots) column.shift();
    }
    const listed = new Map();
    for (const each of processes) {
      const key = `${each.role}/${each.id}`;
      const values = this.trails.get(key) ?? [];
      values.push(each.rate);
      if (values.length > this.trailSlots) values.shift();
      listed.set(key, values);
    }
    this.trails = listed;
    return true;
  }
}

const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
export const count = (value) => (value < 100 ? String(Math.round(value * 10) / 10) : value < 10000 ? Math.round(value).toLocaleString("en") : SHORT.format(value));
export const bytes = (value) => {
  for (const [size, unit] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) if (value >= size) return `${count(value / size)} ${unit}`;
  return `${value} B`;
};
export const ms = (value) => (value < 1000 ? `${count(value)} ms` : `${count(value / 1000)} s`);
export const seconds = (value) => (value < 1 ? `${Math.round(value * 1000)} ms` : value < 60 ? `${Math.round(value * 10) / 10} s` : duration(value));
export const duration = (value) => {
  const s = Math.round(value);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
};
