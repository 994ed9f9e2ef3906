// The section of a data set: its parts, and what is drawn anew when the reader chooses something.

function datasetSection(dataset) {
  const host = (name) => el("div", { class: name });
  const [summary, ranking, slopes, pareto, costs] = ["summary", "ranking", "slope-host", "pareto-host", "costs"].map(host);
  const protocol = () => protocolOf(dataset);
  const groups = () => groupsOf(dataset, sorted(shownRows(dataset), (row) => row.places[protocol().name], false));
  const drawTable = () => {
    redraw(summary, summaryOf(dataset, protocol()));
    redraw(ranking, rankedTable(dataset, protocol(), on));
  };
  const drawFigures = () => {
    redraw(slopes, slopeFigures(dataset, room(slopes)) ?? []);
    redraw(pareto, paretoFigure(dataset, protocol(), shownRows(dataset), room(pareto), (axis) => {
      choose({ axis: axis.key });
      drawFigures();
      announce(`Cost is ${axis.label}.`);
    }) ?? el("p", { class: "small" }, "No cost is known of two rows or more."));
    redraw(costs, costTable(dataset, groups()) ?? []);
  };
  const draw = () => { drawTable(); drawFigures(); };
  const on = {
    protocol: (chosenOne) => {
      choose({ protocol: chosenOne === dataset.protocols[0] ? "" : chosenOne.name, sort: "" });
      draw();
      announce(protocolWords(dataset, chosenOne));
    },
    filter: (changes) => {
      choose(changes);
      draw();
      announce(`${shownRows(dataset).length} of ${plural(dataset.rows.length, "row")} shown.`);
    },
    reference: (id) => {
      choose({ reference: id });
      section.querySelector(".compare").value = id;
      draw();
      const row = referenceOf(dataset);
      announce(row ? `Differences to ${row.name} in a column of their own.` : "No comparison.");
    },
    sort: (key, descending, label) => {
      choose({ sort: (descending ? "-" : "") + key });
      drawTable();
      announce(`Sorted by ${label}, ${descending ? "descending" : "ascending"}.`);
    },
    open: (row, open) => {
      choose({ open: listed("open", row.id, open) });
      drawTable();
    },
  };
  const section = el("section", { id: dataset.name, "aria-labelledby": `title-${dataset.name}` },
    el("h2", { id: `title-${dataset.name}`, tabindex: "-1" }, dataset.title),
    el("p", { class: "about" }, dataset.about.map((line) => [...prose(line), " "])),
    dataset.rows.length ? controls(dataset, on) : null, summary, ranking, tableHelp(dataset), absentPart(dataset),
    dataset.rows.length > 1 && [
      el("div", { class: "figures" },
        dataset.protocols.length > 1 && el("div", {}, el("h3", {}, "Ranks under every protocol"), slopes),
        el("div", {}, el("h3", {}, "Accuracy and cost"), pareto)),
      fold("What every row costs", costs),
    ],
    gridPart(dataset), publishedParts(dataset));
  section.draw = draw;
  section.drawFigures = drawFigures;
  section.show = (row) => {
    choose({ open: listed("open", row.id, true) });
    drawTable();
    const button = section.querySelector(`[data-focus="${CSS.escape(`open ${row.id}`)}"]`);
    button?.scrollIntoView({ block: "center", behavior: calm() ? "auto" : "smooth" });
    button?.focus({ preventScroll: true });
  };
  return section;
}

function calm() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

/** Width for a drawing. */
function room(host) {
  return Math.max(Math.round(host.clientWidth) - 34, 270);
}

function protocolWords(dataset, protocol) {
  const moves = [...movesOf(dataset, protocol.name).values()].filter((places) => places !== 0).length;
  const best = dataset.rows.find((row) => row.places[protocol.name] === 1);
  const first = dataset.rows.filter((row) => best && row.setting === best.setting && row.places[protocol.name] === 1);
  return `Ranked by ${protocol.ranks_by}, protocol ${protocol.name}: ${protocol.title}. ${best ? `First: ${first.map(({ name }) => name).join(" and ")}, ${fixed(mean(best, protocol.ranks_by))}. ` : ""}`
    + (protocol === dataset.protocols[0] ? "" : `${plural(moves, "row")} ${moves === 1 ? "stands" : "stand"} elsewhere than under protocol ${dataset.protocols[0].name}.`);
}

/** The line above the table. */
function summaryOf(dataset, protocol) {
  if (!dataset.rows.length) return [];
  const shown = shownRows(dataset).length;
  return [el("p", {}, protocolWords(dataset, protocol), shown < dataset.rows.length ? ` ${shown} of ${dataset.rows.length} rows shown; ranks are among all.` : "",
    dataset.absent.length > 0 && ` ${plural(dataset.absent.length, "run")} without a score: the reasons stand under the table.`)];
}

function tableHelp(dataset) {
  const names = [...new Set(dataset.protocols.flatMap((protocol) => protocol.metrics))];
  const used = Object.keys(board.badges).filter((badge) => dataset.rows.some((row) => row.badges.includes(badge)));
  const everywhere = used.filter((badge) => dataset.rows.every((row) => row.badges.includes(badge)));
  return [
    everywhere.map((badge) => el("p", { class: "small" }, "Every row: ", badgeOf(badge), ` ${board.badges[badge]}`)),
    fold("What the columns mean", [
      el("p", {}, "Percent; mean over seeds ± sample standard deviation, one seed has none. The interval is of that mean: 95 % of a bootstrap over test clips. "
        + "Ranks compare rows of one setting by one metric on one grid; equal numbers share a place."),
      dataset.protocols.map((protocol) => [
        el("p", { class: "subhead" }, `Protocol ${protocol.name}: ${protocol.title}`), legend(names.filter((name) => protocol.metrics.includes(name)))]),
      used.length > 0 && [el("p", { class: "subhead" }, "Badges"), el("ul", { class: "legend" }, used.map((badge) => el("li", {}, badgeOf(badge), ` ${board.badges[badge]}`)))],
    ]),
    fold("Take this table along, or look closer", el("ul", { class: "legend" },
      el("li", {}, "As LaTeX, CSV or Markdown: ", el("code", {}, `avsbench table --dataset ${dataset.name} --format latex`), "."),
      el("li", {}, "The address of this page keeps protocol, order, filters and comparison: copy it to share the view."),
      el("li", {}, "Two rows clip by clip: ", el("code", {}, "avsbench compare"), ". Pictures, sound and masks of every run: ", el("code", {}, "snakemake --cores 2 explorer"), "; then a row links to them."))),
  ];
}

/** What has no score, and why. */
function absentPart(dataset) {
  if (!dataset.absent.length) return null;
  const columns = [
    { key: "name", label: "method", head: true, sticky: "only", value: (row) => row.name, cell: (row) => row.name },
    { key: "seed", label: "seed", value: (row) => row.seed, cell: (row) => row.seed },
    { key: "status", label: "status", value: (row) => row.status, cell: (row) => el("span", { class: `badge ${row.status.replace(" ", "-")}` }, row.status) },
    { key: "reason", label: "reason", cell: (row) => el("span", { class: "words reason" }, row.reason) },
    { key: "log", label: "log", cell: (row) => (row.log ? link("log", row.log) : NOTHING) },
  ];
  return [el("h3", {}, "Runs without a score"),
    freeTable({ caption: `${dataset.title}: runs without a score, and why`, columns, groups: [{ rows: dataset.absent }], name: "absent ", quiet: true })];
}

/** The headline metrics at other sizes; never ranked. */
function gridPart(dataset) {
  const names = dataset.protocols[0].metrics.slice(0, 4);
  const rows = dataset.rows.flatMap((row) => Object.keys(row.grids).filter((grid) => grid !== GRID).map((grid) => ({ id: `${row.id} ${grid}`, name: row.name, grid, row })));
  if (!rows.length) return null;
  const used = names.filter((name) => rows.some(({ row, grid }) => score(row, name, grid)));
  const columns = [
    nameColumn(), { key: "grid", label: "grid", value: (each) => each.grid, cell: (each) => each.grid },
    ...used.map((name) => scoreColumn(name, name, ({ row, grid }) => score(row, name, grid))),
  ];
  return [el("h3", {}, "Other grids"), el("p", { class: "small" }, "Scores at other sizes than the common one. They are never ranked."),
    freeTable({ caption: `${dataset.title}: scores on other grids`, columns, groups: [{ rows }], name: "grids ", quiet: true })];
}
