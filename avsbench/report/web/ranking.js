// Ranks and differences. Places come from the data, computed from unrounded numbers; what is derived here is only how they
// compare between protocols.

const GRID = "common";

/** {mean, spread, low, high, each} of a row, or null. */
function score(row, metric, grid = GRID) {
  return row.grids[grid]?.[metric] ?? null;
}

function mean(row, metric, grid = GRID) {
  return score(row, metric, grid)?.mean ?? null;
}

/** Rows by setting, each ranked apart: [{title, rows}]. */
function groupsOf(dataset, rows) {
  return dataset.settings.map(({ name, title }) => (
    { name, title: title || "Trained for the task", rows: rows.filter((row) => row.setting === name) })).filter((group) => group.rows.length);
}

/** Places 1, 2, … of some rows among themselves under a protocol; equal places stay equal. Row id -> place. */
function placesAmong(rows, protocol) {
  const order = rows.map((row) => row.places[protocol]).sort((a, b) => a - b);
  return new Map(rows.map((row) => [row.id, order.indexOf(row.places[protocol]) + 1]));
}

/**
 * By how many places rows stand higher under a protocol than under the headline one: row id -> number. Only rows with a
 * place under both are counted (hard masks have none under B), each in its setting.
 */
function movesOf(dataset, protocol) {
  const headline = dataset.protocols[0].name;
  const moves = new Map();
  for (const { rows } of groupsOf(dataset, dataset.rows)) {
    const both = rows.filter((row) => row.places[protocol] && row.places[headline]);
    const [before, after] = [placesAmong(both, headline), placesAmong(both, protocol)];
    for (const { id } of both) moves.set(id, before.get(id) - after.get(id));
  }
  return moves;
}

/** {value, low, high, clear} of a row minus the reference; low and high are null where clips differ. Null for itself. */
function difference(dataset, metric, row, reference) {
  const [i, j] = [dataset.rows.indexOf(row), dataset.rows.indexOf(reference)];
  const [ours, theirs] = [mean(row, metric), mean(reference, metric)];
  if (i === j || ours === null || theirs === null) return null;
  const pair = (dataset.pairs[metric] ?? []).find(([a, b]) => (a === i && b === j) || (a === j && b === i));
  const [low, high] = !pair ? [null, null] : pair[0] === i ? [pair[2], pair[3]] : [-pair[3], -pair[2]];
  return { value: ours - theirs, low, high, clear: pair !== undefined && (low > 0 || high < 0) };
}

/** Rows by a value; those without it come last either way. Texts by letters, numbers by size. */
function sorted(rows, value, descending) {
  const missing = (found) => found === null || found === undefined || found === "";
  const compare = (a, b) => (typeof a === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
  return [...rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (missing(x) || missing(y)) return missing(x) - missing(y);
    return descending ? compare(y, x) : compare(x, y);
  });
}

/** Points that nothing beats in one of cost and accuracy without losing in the other, from cheap to dear. */
function front(points, lowIsCheap, highIsGood) {
  const cost = (point) => (lowIsCheap ? point.x : -point.x);
  const loss = (point) => (highIsGood ? -point.y : point.y);
  const kept = [];
  for (const point of [...points].sort((a, b) => cost(a) - cost(b) || loss(a) - loss(b))) {
    if (!kept.length || loss(point) < loss(kept.at(-1))) kept.push(point);
  }
  return kept;
}
