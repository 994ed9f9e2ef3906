// Published numbers: beside ours where both are of one protocol; never in one column with another protocol.

/** The parts about published numbers of a data set. */
function publishedParts(dataset) {
  const beside = dataset.published.filter((each) => each.variant !== null);
  const numbers = once(dataset.published);
  const pooled = numbers.filter((each) => each.protocol === "D");
  const framed = numbers.filter((each) => each.protocol !== "D");
  return [
    beside.length > 0 && [el("h3", {}, "Published against measured"), gapTable(beside)],
    dataset.published.length > 0 && el("h3", {}, "Published by others"),
    beside.length === 0 && dataset.published.length > 0 && el("p", { class: "small" }, board.scale === "full"
      ? "No row of the whole test split has the method, backbone, start and size of a published number, so none is compared."
      : `Scale ${board.scale} is compared with no published number.`),
    printed("Scored per image", framed),
    printed("Scored over pooled pixels", pooled),
    dataset.unknown.length > 0 && el("section", { class: "unknown" },
      el("h3", {}, "Published, protocol not stated"),
      el("p", {}, "The sources of these numbers do not say how they score. They are ranked and compared with nothing."),
      printed("Protocol not stated", dataset.unknown)),
  ];
}

/** Each printed number once, however many of our rows stand beside it. */
function once(numbers) {
  const key = ({ variant, measured, gap, ours, ...printedOnes }) => JSON.stringify(printedOnes);
  return [...new Map(numbers.map((each) => [key(each), each])).values()];
}

function gapTable(rows) {
  const widest = Math.max(...rows.map((row) => Math.abs(row.gap ?? 0)), 1);
  const columns = [
    { key: "variant", label: "row", head: true, sticky: "only", value: (row) => row.variant, cell: (row) => row.variant },
    { key: "metric", label: "metric", value: (row) => row.ours, cell: (row) => `${row.ours} (${row.protocol})` },
    { key: "measured", label: "measured", numeric: true, first: "desc", value: (row) => row.measured, cell: (row) => fixed(row.measured) },
    { key: "published", label: "published", numeric: true, first: "desc", value: (row) => Number(row.published), cell: (row) => row.published },
    { key: "gap", label: "gap", numeric: true, first: "asc", value: (row) => row.gap, cell: (row) => el("span", { class: "with-bar" }, gapBar(row.gap, widest), signed(row.gap)) },
    { key: "source", label: "source", cell: (row) => [link(row.source, row.url), row.note && el("span", { class: "small" }, ` ${row.note}`)] },
  ];
  return freeTable({ caption: "Ours minus published, in points, of the same method, backbone and protocol", columns, groups: [{ rows }], name: "gap " });
}

function gapBar(gap, widest) {
  if (gap === null) return null;
  const [width, height] = [92, 14];
  const x = scale(-widest, widest, 2, width - 2);
  return svg("svg", { class: "gap", viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" },
    svg("rect", { class: gap < 0 ? "worse" : "better", x: Math.min(x(0), x(gap)), y: 3, width: Math.max(Math.abs(x(gap) - x(0)), 1), height: 8 }),
    svg("line", { class: "axis", x1: x(0), x2: x(0), y1: 0, y2: height }));
}

/** Numbers as printed: a line per method and source, a column per metric and protocol. Folded: these tables are long. */
function printed(title, numbers) {
  if (!numbers.length) return null;
  const names = [...new Set(numbers.map(columnName))].sort();
  const lines = linesOf(numbers);
  const text = (key, label) => ({ key, label, value: (line) => line[key], cell: (line) => line[key] || NOTHING });
  const columns = [
    { ...text("method", "method"), head: true, sticky: "only" },
    ...names.map((name) => ({
      key: name, label: name, numeric: true, first: "desc",
      value: (line) => (name in line.values ? Number(line.values[name]) : null), cell: (line) => line.values[name] ?? NOTHING,
    })),
    text("venue", "venue"), text("year", "year"), text("backbone", "backbone"), text("pretrained", "pretrained on"), text("size", "size"),
    { key: "source", label: "source", value: (line) => line.source, cell: (line) => el("span", { class: "words" }, link(line.source, line.url), line.note && `; ${line.note}`) },
  ].filter((column) => column.head || lines.some((line) => column.cell(line) !== NOTHING));
  const view = freeTable({ caption: `${title}; percent, as the source prints it`, columns, groups: [{ rows: lines }], name: `${title} ` });
  return fold(`${title}: ${plural(lines.length, "line")}`, view);
}

function columnName({ metric, protocol }) {
  return `${metric} (${protocol})`;
}

/** Numbers that a source prints on one line; two of the same words get two lines. */
function linesOf(numbers) {
  const lines = new Map();
  for (const each of numbers) {
    let key = JSON.stringify([each.method, each.venue, each.year, each.backbone, each.pretrained, each.size, each.setting, each.source, each.note]);
    while (lines.has(key) && columnName(each) in lines.get(key).values) key += " ";
    if (!lines.has(key)) lines.set(key, { ...each, values: {} });
    lines.get(key).values[columnName(each)] = each.published;
  }
  const found = [...lines.values()];
  const first = columnName(numbers.find(({ metric }) => metric === "mIoU") ?? numbers[0]);
  return numbers[0].protocol === "?"
    ? sorted(found, (line) => `${line.year} ${line.method}`, false)
    : sorted(found, (line) => (first in line.values ? Number(line.values[first]) : null), true);
}
