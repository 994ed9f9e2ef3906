// Drawings: intervals inside a table, training curves, and the axes of all.

/** From numbers to pixels; `log` needs positive numbers. */
function scale(low, high, start, end, log = false) {
  const f = log ? Math.log10 : (value) => value;
  const width = f(high) - f(low) || 1;
  return (value) => start + ((f(value) - f(low)) / width) * (end - start);
}

/** Round numbers that cover low to high, about `count` of them. */
function ticks(low, high, count = 5, log = false) {
  if (log) {
    const found = [];
    const wide = Math.log10(high / low) > 2.5;
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
      for (const step of wide ? [1] : [1, 2, 5]) found.push(step * 10 ** power);
    }
    return found.filter((value) => value >= low * 0.999 && value <= high * 1.001);
  }
  const rough = (high - low || 1) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((times) => times * power).find((each) => each >= rough);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(i * step);
  return found;
}

/** Smallest and largest of numbers, widened by a share of their distance. */
function extent(numbers, margin = 0.05) {
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  const room = (high - low || Math.abs(high) || 1) * margin;
  return [low - room, high + room];
}

/** Mean, seeds and interval of one row on the scale of its table; `line` is where the reference stands. */
function intervalBar(found, [low, high], line = null) {
  const [width, height, middle] = [132, 18, 9];
  const x = scale(low, high, 5, width - 5);
  return svg("svg", { class: "interval", viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" },
    svg("line", { class: "rail", x1: 0, x2: width, y1: middle, y2: middle }),
    line !== null && svg("line", { class: "reference", x1: x(line), x2: x(line), y1: 0, y2: height }),
    found.low !== null && svg("line", { class: "range", x1: x(found.low), x2: x(found.high), y1: middle, y2: middle }),
    (found.each ?? []).length > 1 && found.each.map((value) => (
      svg("line", { class: "seed", x1: x(value), x2: x(value), y1: middle - 4, y2: middle + 4 }))),
    svg("circle", { class: "point", cx: x(found.mean), cy: middle, r: 3.5 }));
}

/** Axes with ticks: {x, y} are scales, the numbers at which to tick, and titles. */
function axes({ x, y, xTicks, yTicks, xTitle, yTitle, box, form = brief }) {
  return [
    yTicks.map((value) => svg("line", { class: "grid", x1: box.left, x2: box.right, y1: y(value), y2: y(value) })),
    yTicks.map((value) => svg("text", { class: "tick", x: box.left - 6, y: y(value) + 4, "text-anchor": "end" }, form(value))),
    xTicks.map((value) => svg("line", { class: "grid", x1: x(value), x2: x(value), y1: box.bottom, y2: box.bottom + 4 })),
    xTicks.map((value) => svg("text", { class: "tick", x: x(value), y: box.bottom + 17, "text-anchor": "middle" }, form(value))),
    svg("line", { class: "axis", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }),
    xTitle && svg("text", { class: "title", x: (box.left + box.right) / 2, y: box.bottom + 34, "text-anchor": "middle" }, xTitle),
    yTitle && svg("text", { class: "title", x: box.left, y: box.top - 8, "text-anchor": "start" }, yTitle),
  ];
}

/** One quantity by epoch, a line per seed: lines are [{seed, xs, ys, best}]. */
function curvePlot(title, lines, form) {
  const drawn = lines.map((line) => ({ ...line, points: line.xs.map((x, i) => [x, line.ys[i]]).filter(([, y]) => Number.isFinite(y)) }))
    .filter((line) => line.points.length);
  if (!drawn.length) return null;
  const [width, height] = [340, 190];
  const box = { left: 48, right: width - 12, top: 26, bottom: height - 40 };
  const [xs, ys] = [0, 1].map((i) => drawn.flatMap((line) => line.points.map((point) => point[i])));
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  const [low, high] = extent(ys);
  const [x, y] = [scale(left, right, box.left + 4, box.right), scale(low, high, box.bottom, box.top)];
  const path = (points) => points.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
  const best = (line) => line.best && line.points.find(([epoch]) => epoch >= line.best); // neighbours may share a point
  const words = drawn.map((line) => `seed ${line.seed} from ${form(line.points[0][1])} to ${form(line.points.at(-1)[1])}`
    + (best(line) ? `, chosen epoch ${line.best} with ${form(best(line)[1])}` : ""));
  return el("figure", { class: "curve" },
    svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title} by epoch: ${words.join("; ")}.` },
      axes({ x, y, xTicks: ticks(left, right, 5).filter(Number.isInteger), yTicks: ticks(low, high, 4), xTitle: "epoch", yTitle: title, box, form: brief }),
      drawn.map((line, i) => [
        svg("path", { class: `line line-${i % 5}`, d: path(line.points) }),
        line.points.length === 1 && svg("circle", { class: "dot", cx: x(line.points[0][0]), cy: y(line.points[0][1]), r: 3 }),
        best(line) && svg("circle", { class: `best line-${i % 5}`, cx: x(best(line)[0]), cy: y(best(line)[1]), r: 4 }),
      ])));
}
