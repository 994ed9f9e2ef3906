// What lies beneath a row: who made the method, notes, training curves, and the files of each run.

/** Everything about a row, for one protocol. */
function rowDetails(dataset, protocol, row, onreference) {
  return [
    about(row),
    notes(row.notes),
    curves(row),
    runs(dataset, protocol, row),
    el("p", { class: "actions" }, state.reference === row.id
      ? el("button", { type: "button", onclick: () => onreference(""), "data-focus": `compare ${row.id}` }, "Compare with no row")
      : el("button", { type: "button", onclick: () => onreference(row.id), "data-focus": `compare ${row.id}` }, "Compare all rows with this one")),
  ];
}

function about(row) {
  const paper = row.paper || (row.url ? "paper" : "");
  const facts = [
    ["Method", row.title || row.method],
    ["Paper", paper && link(paper, row.url)],
    ["Code", row.source && link(row.source.replace(/^https?:\/\//, ""), row.source)],
    ["Masks from", row.masks],
    ["Starts from", row.init],
    ["Epoch chosen on", row.selection === "-" ? "" : row.selection],
    ["Cost", costWords(row.cost)],
    ["This means", row.badges.map((badge) => [badgeOf(badge), ` ${board.badges[badge] ?? ""} `])],
  ];
  return el("dl", { class: "facts" }, facts.filter(([, value]) => value && value.length !== 0)
    .map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

function costWords(cost) {
  if (!cost) return "";
  const parts = COSTS.map((axis) => [costOf({ cost }, axis), axis]).filter(([value]) => value !== null)
    .map(([value, axis]) => `${axis.label} ${brief(value)}`);
  return [...parts, cost.device].join(" · ");
}

function badgeOf(badge) {
  return el("span", { class: `badge ${badge.replaceAll(/[^a-z-]/g, "")}`, title: board.badges[badge] }, badge);
}

/** Loss and validation score of all seeds that were trained. */
function curves(row) {
  const known = row.runs.filter((run) => run.curve);
  if (!known.length) return null;
  const lines = (ys) => known.map(({ seed, curve }) => ({ seed, xs: curve.epochs, ys: curve[ys], best: ys === "score" ? curve.best : null }));
  const metric = known[0].curve.metric;
  return el("div", { class: "curves" },
    curvePlot("training loss", lines("loss"), brief), curvePlot(`${metric} on validation, %`, lines("score"), fixed),
    known.length > 1 && el("p", { class: "small seeds" }, known.map((run, i) => [el("span", { class: `key line-${i % 5}` }), `seed ${run.seed} `])));
}

function runs(dataset, protocol, row) {
  const metric = protocol.ranks_by;
  const each = score(row, metric)?.each ?? [];
  const files = (run) => [["explorer", run.explorer], ["record", run.record], ["per frame", run.frames], ["log", run.log]]
    .filter(([, address]) => address).map(([text, address]) => [link(text, address), " "]);
  const columns = [
    { key: "seed", label: "seed", head: true, cell: ({ run }) => run.seed },
    { key: "score", label: `${metric} (${protocol.name})`, numeric: true, cell: ({ value }) => fixed(value) },
    { key: "files", label: "files", cell: ({ run }) => files(run) },
    { key: "finished", label: "finished", cell: ({ run }) => run.finished.slice(0, 16).replace("T", " ") },
    { key: "device", label: "device", cell: ({ run }) => run.device },
    { key: "code", label: "code", cell: ({ run }) => el("code", {}, run.code) },
  ];
  const rows = row.runs.map((run, i) => ({ id: `${row.id} ${run.seed}`, run, value: each[i] }));
  return table({ caption: `Runs of ${row.name}`, columns, groups: [{ rows }], name: `runs ${row.id} ` });
}
