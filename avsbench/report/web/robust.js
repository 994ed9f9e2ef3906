// "Does it listen?": what rows segment under sounds that do not belong to the pictures.

const ROBUST = "does-it-listen";

function robustSection({ title, about, datasets, missing }) {
  const drawings = [];
  const section = el("section", { id: ROBUST, "aria-labelledby": "title-robust" },
    el("h2", { id: "title-robust", tabindex: "-1" }, title), about.map((line) => el("p", { class: "about" }, prose(line))),
    datasets.map((dataset) => [
      el("h3", {}, dataset.title),
      dataset.kinds.length ? dataset.kinds.map((kind) => heardParts(dataset, kind, drawings)) : el("p", { class: "empty" }, "No row was heard under another sound."),
      printed("Published, protocol not stated", dataset.published),
    ]),
    missing.length > 0 && [el("h3", {}, "Not heard"), missingTable(missing)]);
  section.draw = () => drawings.forEach((draw) => draw());
  section.drawFigures = section.draw;
  return section;
}

function heardParts(dataset, { kind, conditions, rows }, drawings) {
  const title = [dataset.title, kind].filter(Boolean).join(", ");
  const called = `${dataset.name} ${kind} `;
  const host = el("div", {});
  drawings.push(() => redraw(host, areaPlot(title, conditions, rows, Math.min(room(host) + 34, 720))));
  return [
    kind && el("h4", {}, kind),
    el("figure", { class: "card" }, host, el("figcaption", {}, areaWords(conditions))),
    summaryTable(title, rows, called),
    fold("All sounds, all components", componentTable(title, conditions, rows, called)),
    fold("What the columns mean", legend(["g_miou", "g_f", "g_fpr", ...componentNames(rows)])),
  ];
}

function componentNames(rows) {
  return [...new Set(rows.flatMap((row) => Object.keys(row.own)))];
}

function areaWords(conditions) {
  return `Share of pixels that are segmented: a ring under the clips' own sound, a bar for each of ${conditions.join(", ")}. `
    + "Who listens falls to nothing; who looks only at the pictures does not change.";
}

/** Area under each negative as bars, under the own sound as a ring; names beside the bars, or above them on a phone. */
function areaPlot(title, conditions, rows, width) {
  const bar = 15;
  const above = width < 480 ? 18 : 0;
  const left = above ? 4 : 196;
  const step = conditions.length * bar + 16 + above;
  const height = rows.length * step + 30;
  const area = (found) => found?.fpr?.mean ?? null;
  const known = rows.flatMap((row) => [row.own, ...Object.values(row.conditions)].map(area)).filter((value) => value !== null);
  if (!known.length) return [];
  const high = Math.max(...known, 0.1) * 1.02;
  const x = scale(0, high, left, width - 72);
  const words = rows.map((row) => `${row.name}: own sound ${fixed(area(row.own))}, ${conditions.map((each) => `${each} ${fixed(area(row.conditions[each]))}`).join(", ")}`);
  const name = (text, top) => (above
    ? svg("text", { class: "name", x: left, y: top - 5 }, text)
    : svg("text", { class: "name", x: left - 12, y: top + (conditions.length * bar) / 2 + 4, "text-anchor": "end" }, shortened(text, 25)));
  const group = (row, i) => {
    const [top, own] = [8 + above + i * step, area(row.own)];
    return svg("g", {}, name(row.name, top),
      own !== null && svg("line", { class: "own", x1: x(own), x2: x(own), y1: top - 3, y2: top + conditions.length * bar + 3 }),
      conditions.map((each, j) => [each, area(row.conditions[each]), top + j * bar, j]).filter(([, value]) => value !== null).map(([each, value, y, j]) => [
        svg("rect", { class: `bar bar-${j}`, x: x(0), y: y + 2, width: Math.max(x(value) - x(0), 1), height: bar - 4 }),
        svg("text", { class: "value", x: width - 64, y: y + 11.5 }, each),
      ]),
      own !== null && svg("circle", { class: "own", cx: x(own), cy: top + (conditions.length * bar) / 2, r: 4 }));
  };
  return svg("svg", { class: "areas", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `${title}: share of pixels segmented, percent. ${words.join("; ")}.` },
    ticks(0, high, width < 480 ? 3 : 5).map((value) => [
      svg("line", { class: "grid", x1: x(value), x2: x(value), y1: 2, y2: height - 24 }),
      svg("text", { class: "tick", x: x(value), y: height - 8, "text-anchor": value ? "middle" : "start" }, `${brief(value)} %`),
    ]),
    rows.map(group));
}

function scoreColumn(key, label, of) {
  const { direction, help, protocol } = board.metrics[label] ?? {};
  const arrow = { higher: " ↑", lower: " ↓" }[direction] ?? "";
  return {
    key, label: `${label}${protocol ? ` (${protocol})` : ""}${arrow}`, help: help?.replaceAll("`", ""), numeric: true,
    first: direction === "lower" ? "asc" : "desc", value: (row) => of(row)?.mean ?? null, cell: (row) => number(of(row)),
  };
}

function nameColumn(label = "method") {
  return { key: "name", label, head: true, sticky: "only", value: (row) => row.name, cell: (row) => row.name };
}

function summaryTable(title, rows, called) {
  const columns = [
    nameColumn(),
    ...["g_miou", "g_f", "g_fpr"].map((name) => scoreColumn(name, name, (row) => row.all[name])),
    scoreColumn("miou", "miou", (row) => row.own.miou),
    { ...scoreColumn("area", "area under own sound", (row) => row.own.fpr), help: "Share of pixels segmented under the clips' own sound" },
    { key: "seeds", label: "seeds", cell: (row) => row.seeds.join(", ") },
    { key: "clips", label: "clips", cell: (row) => row.clips },
  ];
  return freeTable({ caption: `${title}: over all negatives`, columns, groups: [{ rows }], name: `${called}summary `, quiet: true });
}

function componentTable(title, conditions, rows, called) {
  const lines = rows.flatMap((row) => [
    { name: row.name, sound: "own sound", scores: row.own },
    ...conditions.filter((each) => row.conditions[each]).map((each) => ({ name: row.name, sound: each, scores: row.conditions[each] })),
  ]);
  const columns = [
    nameColumn(), { key: "sound", label: "sound", value: (line) => line.sound, cell: (line) => line.sound },
    ...componentNames(rows).map((name) => scoreColumn(name, name, (line) => line.scores[name])),
  ];
  return [
    freeTable({ caption: `${title}: components`, columns, groups: [{ rows: lines }], name: `${called}components `, quiet: true }),
    el("p", { class: "small" }, "Scores under a negative are taken against the masks of the true sound: there lower is better."),
  ];
}

function missingTable(missing) {
  const columns = [
    nameColumn(), { key: "dataset", label: "data set", value: (row) => row.dataset, cell: (row) => row.dataset },
    { key: "sound", label: "sound", cell: (row) => row.conditions.join(", ") },
    { key: "reason", label: "reason", cell: (row) => el("span", { class: "words reason" }, prose(row.reason)) },
  ];
  return freeTable({ caption: "Rows that were not heard, and why", columns, groups: [{ rows: missing }], name: "not heard ", quiet: true });
}

/** A definition per metric. */
function legend(names) {
  return el("ul", { class: "legend" }, names.filter((name) => board.metrics[name]).map((name) => el("li", {}, prose(board.metrics[name].help))));
}
