// "Does it listen?": what rows segment under sounds that do not belong to the pictures.

const ROBUST = "does-it-listen";

function robustSection({ title, about, datasets, missing }) {
  return el("section", { id: ROBUST, "aria-labelledby": "title-robust" },
    el("h2", { id: "title-robust", tabindex: "-1" }, title), about.map((line) => el("p", { class: "about" }, prose(line))),
    datasets.map((dataset) => [
      el("h3", {}, dataset.title),
      dataset.kinds.map((kind) => heardParts(dataset, kind)),
      printed("Published, protocol not stated", dataset.published),
    ]),
    missing.length > 0 && [el("h3", {}, "Not heard"), missingTable(missing)]);
}

function heardParts(dataset, { kind, conditions, rows }) {
  const title = [dataset.title, kind].filter(Boolean).join(", ");
  const called = `${dataset.name} ${kind} `;
  return [
    kind && el("h4", {}, kind),
    el("figure", { class: "card" }, areaPlot(title, conditions, rows), el("figcaption", {}, areaWords(conditions))),
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

/** Area under each negative as bars, under the own sound as a ring, a line per row. */
function areaPlot(title, conditions, rows) {
  const [width, name, line] = [640, 190, 14];
  const step = conditions.length * line + 14;
  const height = rows.length * step + 34;
  const area = (found) => found?.fpr?.mean ?? null;
  const all = rows.flatMap((row) => [area(row.own), ...conditions.map((each) => area(row.conditions[each]))]).filter((value) => value !== null);
  if (!all.length) return null;
  const high = Math.max(...all, 0.1) * 1.05;
  const x = scale(0, high, name, width - 46);
  const words = rows.map((row) => `${row.name}: own sound ${fixed(area(row.own))}, ${conditions.map((each) => `${each} ${fixed(area(row.conditions[each]))}`).join(", ")}`);
  return svg("svg", { class: "areas", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}: share of pixels segmented, percent. ${words.join("; ")}.` },
    ticks(0, high, 5).map((value) => [
      svg("line", { class: "grid", x1: x(value), x2: x(value), y1: 4, y2: height - 26 }),
      svg("text", { class: "tick", x: x(value), y: height - 10, "text-anchor": "middle" }, `${brief(value)} %`),
    ]),
    rows.map((row, i) => {
      const top = 8 + i * step;
      return svg("g", {},
        svg("text", { class: "name", x: name - 12, y: top + (conditions.length * line) / 2 + 4, "text-anchor": "end" }, shortened(row.name, 24)),
        conditions.map((each, j) => {
          const value = area(row.conditions[each]);
          return value === null ? null : [
            svg("rect", { class: `bar bar-${j}`, x: x(0), y: top + j * line + 2, width: Math.max(x(value) - x(0), 1), height: line - 4 }),
            svg("text", { class: "value", x: x(value) + 5, y: top + j * line + 11 }, each),
          ];
        }),
        area(row.own) !== null && [
          svg("line", { class: "own", x1: x(area(row.own)), x2: x(area(row.own)), y1: top - 1, y2: top + conditions.length * line + 1 }),
          svg("circle", { class: "own", cx: x(area(row.own)), cy: top + (conditions.length * line) / 2, r: 4 }),
        ]);
    }));
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
    { key: "reason", label: "reason", cell: (row) => el("span", { class: "words" }, prose(row.reason)) },
  ];
  return freeTable({ caption: "Rows that were not heard, and why", columns, groups: [{ rows: missing }], name: "not heard ", quiet: true });
}

/** A definition per metric. */
function legend(names) {
  return el("ul", { class: "legend" }, names.filter((name) => board.metrics[name]).map((name) => el("li", {}, prose(board.metrics[name].help))));
}
