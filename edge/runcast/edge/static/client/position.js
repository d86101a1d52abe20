/**
 * Positions: text that edges give and take back. A client compares them, and does not look into them otherwise.
 */

/**
 * Whether position `a` is at or before `b`, for certain: positions of different epochs have no order.
 * @param {string} a
 * @param {string} b
 */
export function notAfter(a, b) {
  const epoch = a.lastIndexOf("-") + 1;
  return a.length === b.length && a.slice(0, epoch) === b.slice(0, epoch) && a <= b;
}
