// Accuracy against cost: a drawing whose points can be walked through by keyboard, and the same as a table.

const COSTS = [
  { key: "gflops_per_frame", label: "GFLOPs per frame", low: true },
  { key: "parameters", label: "parameters, M", low: true, divide: 1e6 },
  { key: "trainable", label: "trainable, M", low: true, divide: 1e6, table: true },
  { key: "frames_per_second", label: "frames/s", low: false },
  { key: "memory_mb", label: "peak memory, MB", low: true },
  { key: "train_minutes", label: "training, min", low: true },
];

function costOf(row, { key, divide = 1 }) {
  const value = row.cost?.[key];
  return value === null || value === undefined ? null : value / divide;
}

/** Axes that at least two rows have. */
function costAxes(dataset) {
  return COSTS.filter((axis) => !axis.table && dataset.rows.filter((row) => costOf(row, axis) !== null).length > 1);
}

/** The drawing with the choice of its axis; `onchoose(axis)`. Null where costs are not known. */
function paretoFigure(dataset, protocol, rows, width, onchoose) {
  const known = costAxes(dataset);
  if (!known.length) return null;
  const axis = known.find((each) => each.key === state.axis) ?? known[0];
  const metric = protocol.ranks_by;
  const good = board.metrics[metric].direction !== "lower";
  const points = rows.filter((row) => costOf(row, axis) !== null && row.places[protocol.name]) // hard masks have no place under B
    .map((row) => ({ row, x: costOf(row, axis), y: mean(row, metric), found: score(row, metric) }));
  const best = front(points, axis.low, good);
  const choice = el("fieldset", { class: "choices" }, el("legend", {}, "Cost"), known.map((each) => (
    el("label", {}, el("input", {
      type: "radio", name: `axis ${dataset.name}`, value: each.key, checked: each === axis, "data-focus": `axis ${each.key}`,
      onchange: () => onchoose(each),
    }), each.label))));
  const devices = new Set(points.map(({ row }) => row.cost.device));
  const onFront = best.map(({ row }) => row.name).join(", ");
  const caption = points.length
    ? `Nothing is both better and ${axis.low ? "cheaper" : "faster"} than what lies on the front: ${onFront}.`
    : "No row that is shown has both numbers.";
  const warning = devices.size > 1 && ["frames_per_second", "memory_mb", "train_minutes"].includes(axis.key)
    ? " Measured on several devices: these numbers do not compare between them." : "";
  return el("figure", { class: "card" }, choice,
    points.length > 0 && paretoPlot(axis, metric, points, best, width),
    el("figcaption", {}, `${caption} Front ends and features are made before and in no cost.${warning}`));
}

function paretoPlot(axis, metric, points, best, width) {
  const height = Math.min(Math.max(width * 0.62, 260), 400);
  const box = { left: 46, right: width - 16, top: 30, bottom: height - 46 };
  const xs = points.map((point) => point.x);
  const log = Math.min(...xs) > 0 && Math.max(...xs) / Math.min(...xs) > 8;
  const [left, right] = log ? [Math.min(...xs) / 1.25, Math.max(...xs) * 1.25] : extent(xs, 0.08);
  const [low, high] = extent(points.flatMap(({ y, found }) => [y, found.low ?? y, found.high ?? y]));
  const [x, y] = [scale(left, right, box.left, box.right, log), scale(low, high, box.bottom, box.top)];
  const ordered = [...points].sort((a, b) => a.x - b.x || a.y - b.y);
  const label = `${metric} against ${axis.label}. ${plural(points.length, "point")}; arrow keys move between them, Enter opens a row.`;
  const names = labels(best, x, y, box);
  return svg("svg", { class: "pareto", viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label, onkeydown: walk },
    axes({ x, y, box, xTicks: ticks(left, right, 6, log), yTicks: ticks(low, high, 5), xTitle: `${axis.label}${log ? " (log)" : ""}, ${axis.low ? "less is cheaper" : "more is faster"}`, yTitle: `${metric}, %` }),
    svg("path", { class: "front", d: steps(best.map((point) => [x(point.x), y(point.y)])) }),
    ordered.map((point, i) => paretoPoint(axis, metric, point, x(point.x), y, box, { front: best.includes(point), named: names.has(point), first: i === 0 })),
    [...names.values()]);
}

function paretoPoint(axis, metric, { row, x: cost, y: value, found }, x, y, box, is) {
  const interval = found.low === null ? "" : ` (${fixed(found.low)} to ${fixed(found.high)})`;
  const words = `${row.name}: ${metric} ${fixed(value)}${interval}, ${axis.label} ${brief(cost)}${is.front ? ", on the front" : ""}`;
  const shape = row.setting === "zero-shot"
    ? svg("path", { class: "mark", d: `M${x} ${y(value) - 6.5}l6.5 6.5l-6.5 6.5l-6.5 -6.5z` })
    : svg("circle", { class: "mark", cx: x, cy: y(value), r: 5 });
  const end = x > (box.left + box.right) / 2;
  return svg("a", { class: `spot ${row.setting}${is.front ? " on" : ""}`, href: addressOf({ open: row.id }), tabindex: is.first ? 0 : -1, "aria-label": words,
    onclick: (event) => { event.preventDefault(); showRow(row); } },
    svg("title", {}, words),
    found.low !== null && svg("line", { class: "whisker", x1: x, x2: x, y1: y(found.low), y2: y(found.high) }),
    svg("circle", { class: "halo", cx: x, cy: y(value), r: 12 }), shape,
    !is.named && svg("text", { class: "hint", x: end ? x - 12 : x + 12, y: y(value) + 4, "text-anchor": end ? "end" : "start" }, row.name));
}

/** Point on the front -> its name: above or below it, right or left, where nothing else lies; else it has none. */
function labels(best, x, y, box) {
  const taken = best.map((point) => ({ left: x(point.x) - 6, right: x(point.x) + 6, top: y(point.y) - 6, bottom: y(point.y) + 6 }));
  const free = (spot) => spot.left > 0 && spot.right < box.right + 14 && taken.every((other) => (
    spot.right < other.left || spot.left > other.right || spot.bottom < other.top || spot.top > other.bottom));
  const names = new Map();
  for (const point of best) {
    const [a, b, wide] = [x(point.x), y(point.y), point.row.name.length * LETTER];
    const spots = [[1, -9], [-1, -9], [1, 18], [-1, 18]].map(([side, down]) => (
      { side, base: b + down, top: b + down - 11, bottom: b + down + 3, left: side > 0 ? a + 9 : a - 9 - wide, right: side > 0 ? a + 9 + wide : a - 9 }));
    const spot = spots.find(free);
    if (!spot) continue;
    taken.push(spot);
    names.set(point, svg("text", { class: "label", "aria-hidden": "true", x: a + 9 * spot.side, y: spot.base, "text-anchor": spot.side > 0 ? "start" : "end" }, point.row.name));
  }
  return names;
}

/** From point to point as on stairs: what lies below and beside the line is beaten. */
function steps(points) {
  return points.map(([x, y], i) => (i ? `H${x.toFixed(1)}V${y.toFixed(1)}` : `M${x.toFixed(1)} ${y.toFixed(1)}`)).join("");
}

/** Arrow keys, Home and End move the focus between points; Tab enters and leaves all of them at once. */
function walk(event) {
  const spots = [...event.currentTarget.querySelectorAll(".spot")];
  const at = spots.indexOf(document.activeElement);
  const next = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: spots.length - 1 }[event.key];
  if (next === undefined || !spots[next]) return;
  event.preventDefault();
  spots.forEach((spot, i) => spot.setAttribute("tabindex", i === next ? 0 : -1));
  spots[next].focus();
}

/** What rows cost, as a table. */
function costTable(dataset, groups) {
  const known = COSTS.filter((axis) => dataset.rows.some((row) => costOf(row, axis) !== null));
  const columns = [
    { key: "name", label: "method", head: true, sticky: "only", value: (row) => row.name, cell: (row) => row.name },
    ...known.map((axis) => ({
      key: axis.key, label: axis.label, numeric: true, first: axis.low ? "asc" : "desc",
      value: (row) => costOf(row, axis), cell: (row) => brief(costOf(row, axis)),
    })),
    { key: "device", label: "device", value: (row) => row.cost.device, cell: (row) => row.cost.device },
  ];
  const costed = groups.map((group) => ({ ...group, rows: group.rows.filter((row) => row.cost) })).filter((group) => group.rows.length);
  if (!costed.length) return null;
  return [
    freeTable({ caption: "Parameters and cost, mean over seeds", columns, groups: costed, name: "cost ", quiet: true }),
    el("p", { class: "small" }, dataset.cost_notes.join(" ")),
  ];
}
