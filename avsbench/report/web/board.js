// The ranked table of a data set: which rows, in which order, compared with what.

const KINDS = ["zero-shot", "official", "external", "ensemble", "incomplete"];

function protocolOf(dataset) {
  return dataset.protocols.find((each) => each.name === state.protocol) ?? dataset.protocols[0];
}

function referenceOf(dataset) {
  return dataset.rows.find((row) => row.id === state.reference) ?? null;
}

/** Rows that the reader's filters leave. */
function shownRows(dataset) {
  const [hidden, without] = [chosen("hide"), chosen("without")];
  const words = state.find.toLowerCase().split(/\s+/).filter(Boolean);
  return dataset.rows.filter((row) => {
    const text = [row.name, row.method, row.title, row.paper, row.init, row.masks, ...row.badges].join(" ").toLowerCase();
    return !row.badges.some((badge) => hidden.has(badge)) && !without.has(row.method) && words.every((word) => text.includes(word));
  });
}

/** Columns of the ranked table. */
function columnsOf(dataset, protocol, rows, onopen) {
  const metric = protocol.ranks_by;
  const scores = dataset.rows.map((row) => score(row, metric)).filter(Boolean);
  const known = scores.some((found) => found.low !== null);
  const span = scores.length ? extent(scores.flatMap((found) => [found.mean, found.low ?? found.mean, found.high ?? found.mean, ...found.each])) : [0, 1];
  const reference = referenceOf(dataset);
  const line = reference ? mean(reference, metric) : null;
  const moves = movesOf(dataset, protocol.name);
  const headline = protocol === dataset.protocols[0];
  const standsOut = (badge) => !dataset.rows.every((row) => row.badges.includes(badge));
  return [
    {
      key: "place", label: "rank", numeric: true, sticky: "first", value: (row) => row.places[protocol.name], first: "asc",
      cell: (row) => [String(row.places[protocol.name] ?? NOTHING), headline ? null : " ", headline ? null : moveOf(moves.get(row.id), dataset.protocols[0].name)],
    },
    {
      key: "name", label: "method", head: true, sticky: "second", value: (row) => row.name,
      cell: (row) => [opener(row, onopen), el("span", { class: "badges" }, row.badges.filter(standsOut).map(badgeOf))],
    },
    metricColumn(dataset, metric, "strong"),
    {
      key: "interval", label: known ? "95 % interval" : "on a line", help: known ? "Of the mean over seeds: paired bootstrap over clips" : null,
      cell: (row) => intervalCell(score(row, metric), span, line),
    },
    reference && differenceColumn(dataset, protocol, reference),
    ...protocol.metrics.filter((name) => name !== metric).map((name) => metricColumn(dataset, name)),
    { key: "init", label: "starts from", value: (row) => row.init, cell: (row) => el("span", { class: "words" }, row.init) },
    { key: "selection", label: "epoch chosen on", value: (row) => row.selection, cell: (row) => row.selection },
    {
      key: "seeds", label: "seeds", value: (row) => row.seeds.length,
      cell: (row) => row.seeds.join(", ") + (row.seeds.length && row.seeds.length < row.planned ? ` (${row.seeds.length} of ${row.planned})` : ""),
    },
    { key: "clips", label: "clips", numeric: true, value: (row) => row.clips, cell: (row) => (row.clips === row.expected ? String(row.clips) : `${row.clips} of ${row.expected}`) },
  ].filter(Boolean);
}

function metricColumn(dataset, name, weight = null) {
  const { direction, help } = board.metrics[name];
  const arrow = { higher: " ↑", lower: " ↓" }[direction] ?? "";
  const spreads = dataset.rows.some((row) => score(row, name)?.spread);
  return {
    key: name, label: `${name}${arrow}`, help: help.replaceAll("`", ""), numeric: true, first: direction === "lower" ? "asc" : "desc",
    value: (row) => mean(row, name),
    cell: (row) => el("span", { class: weight }, ...number(score(row, name), spreads)),
  };
}

/** Mean, and the spread over seeds where there is one; `spreads`: its room is kept where there is none. */
function number(found, spreads = false) {
  if (!found) return [NOTHING];
  const spread = found.spread === null ? "" : ` ± ${fixed(found.spread)}`;
  return [fixed(found.mean), (spreads || spread) && el("span", { class: "spread" }, spread)];
}

function intervalCell(found, span, line) {
  if (!found) return NOTHING;
  return el("span", { class: "over-bar" }, intervalBar(found, span, line),
    found.low !== null && el("span", { class: "small below" }, `${fixed(found.low, 1)} to ${fixed(found.high, 1)}`));
}

/** Only rows that have a place are compared: hard masks have none under B. */
function differenceColumn(dataset, { name, ranks_by: metric }, reference) {
  const of = (row) => (row.places[name] && reference.places[name] ? difference(dataset, metric, row, reference) : null);
  return {
    key: "difference", label: `minus ${reference.name}`, numeric: true, first: "desc", value: (row) => of(row)?.value ?? (row === reference ? 0 : null),
    help: "Difference in points; 95 % interval of the paired bootstrap over clips. Clear: the interval leaves out 0.",
    cell: (row) => {
      const found = of(row);
      if (row === reference) return el("span", { class: "small" }, "reference");
      if (!found) return NOTHING;
      const better = (found.value > 0) === (board.metrics[metric].direction !== "lower");
      return el("span", { class: found.clear ? (better ? "clear better" : "clear worse") : "unclear" }, signed(found.value),
        el("span", { class: "small below" }, found.low === null ? "scored on other clips" : `${signed(found.low, 1)} to ${signed(found.high, 1)}, `,
          found.low !== null && el("span", { class: "verdict" }, found.clear ? (better ? "clearly better" : "clearly worse") : "not clear")));
    },
  };
}

/** How far a row moved against the headline protocol: sign and words, not colour alone. */
function moveOf(places, headline) {
  if (places === undefined) return null;
  const [kind, text, words] = places > 0 ? ["up", `▲${places}`, `${plural(places, "place")} higher than under ${headline}`]
    : places < 0 ? ["down", `▼${-places}`, `${plural(-places, "place")} lower than under ${headline}`]
      : ["still", "=", `same place as under ${headline}`];
  return el("span", { class: `move ${kind}`, title: words }, el("span", { "aria-hidden": "true" }, text), el("span", { class: "unseen" }, `, ${words}`));
}

function opener(row, onopen) {
  const open = chosen("open").has(row.id);
  return el("button", {
    type: "button", class: "opener", "aria-expanded": String(open), "aria-controls": open ? detailId(row) : null,
    "data-focus": `open ${row.id}`, onclick: () => onopen(row, !open),
  }, row.name);
}

/** The ranked table as the reader has chosen it. */
function rankedTable(dataset, protocol, on) {
  const rows = shownRows(dataset);
  const columns = columnsOf(dataset, protocol, rows, on.open);
  const key = state.sort.replace(/^-/, "");
  const column = columns.find((each) => each.key === key && each.value) ?? columns[0];
  const descending = column.key === key && state.sort.startsWith("-");
  const groups = groupsOf(dataset, sorted(rows, column.value, descending));
  const open = chosen("open");
  const view = table({
    caption: `${dataset.title}: ranked by ${protocol.ranks_by}, protocol ${protocol.name}`, quiet: true, columns, groups,
    sort: { key: column.key, descending }, onsort: on.sort,
    detail: (row) => (open.has(row.id) ? rowDetails(dataset, protocol, row, on.reference) : null),
    mark: (row) => [row.id === state.reference && "reference", row.places[protocol.name] === 1 && "first"].filter(Boolean).join(" ") || null,
  });
  return rows.length ? view : el("p", { class: "empty" }, dataset.rows.length ? "No row is left by these filters." : "No run of this data set has a score yet.");
}
