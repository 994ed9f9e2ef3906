// How ranks change between protocols, on the same predictions.

const STEP = 22;
const LETTER = 7.2;

/** Rows of one setting with a place under every protocol, ranked among themselves: [{row, places: [..]}]. */
function placesByProtocol(dataset, rows) {
  const names = dataset.protocols.map((protocol) => protocol.name);
  const shared = rows.filter((row) => names.every((name) => row.places[name]));
  const places = names.map((name) => placesAmong(shared, name));
  const found = shared.map((row) => ({ row, name: row.name, places: places.map((some) => some.get(row.id)) }));
  return sorted(found, (line) => line.places[0], false);
}

/** A drawing and a table of the ranks of each setting; null where there are fewer than two protocols or rows. */
function slopeFigures(dataset, width) {
  if (dataset.protocols.length < 2) return null;
  const figures = groupsOf(dataset, dataset.rows).map((group) => {
    const lines = placesByProtocol(dataset, group.rows);
    return lines.length > 1 ? slopeFigure(dataset, lines, group, width) : null;
  }).filter(Boolean);
  return figures.length ? figures : null;
}

function slopeFigure(dataset, lines, { title, rows }, width) {
  const moved = lines.filter(({ places }) => new Set(places).size > 1).length;
  const out = rows.length - lines.length;
  const caption = `${title}: ${moved ? `${moved} of ${lines.length} rows change place between protocols.` : "every row keeps its place under all protocols."}`
    + (out ? ` Left out: ${plural(out, "row")} without a place under every protocol.` : "");
  const columns = [
    { key: "name", label: "method", head: true, sticky: "only", value: (line) => line.name, cell: (line) => line.name },
    ...dataset.protocols.map((protocol, i) => ({
      key: protocol.name, label: `${protocol.name}: ${protocol.ranks_by}`, numeric: true,
      value: (line) => line.places[i], cell: (line) => String(line.places[i]),
    })),
  ];
  return el("figure", { class: "card" },
    slopePlot(dataset, lines, caption, width), el("figcaption", {}, caption),
    fold("Ranks as a table", freeTable({ caption: `Ranks under each protocol. ${title}`, columns, groups: [{ rows: lines }], quiet: true })));
}

function slopePlot(dataset, lines, caption, width) {
  const last = dataset.protocols.length - 1;
  const longest = Math.max(...lines.map(({ name }) => name.length));
  const left = Math.min(longest * LETTER + 36, width * 0.5);
  const height = 40 + lines.length * STEP;
  const x = scale(0, last, left, width - 20);
  // Equal ranks share a number, not a spot in the drawing.
  const spots = dataset.protocols.map((_, i) => sorted(lines, (line) => line.places[i], false));
  const y = (line, i) => 46 + spots[i].indexOf(line) * STEP;
  const room = Math.floor((left - 28) / LETTER);
  const slopes = lines.map((line) => {
    const points = line.places.map((_, i) => [x(i), y(line, i)]);
    const words = dataset.protocols.map((protocol, i) => `${protocol.name} ${line.places[i]}`).join(", ");
    return svg("g", { class: `slope ${kindOf(line.places)}${state.reference === line.row.id ? " chosen" : ""}` },
      svg("title", {}, `${line.name}: ${words}`),
      svg("path", { class: "catch", d: smooth(points) }), svg("path", { class: "way", d: smooth(points) }),
      points.map(([a, b], i) => [
        svg("circle", { cx: a, cy: b, r: 8.5 }),
        svg("text", { class: "place", x: a, y: b + 3.5, "text-anchor": "middle" }, String(line.places[i])),
      ]),
      svg("text", { class: "name", x: left - 16, y: y(line, 0) + 4, "text-anchor": "end" }, shortened(line.name, room)));
  });
  const heads = dataset.protocols.map((protocol, i) => {
    const end = i === last;
    return svg("text", { class: "title", x: end ? width - 4 : x(i), y: 20, "text-anchor": end ? "end" : "middle" },
      width < 500 ? protocol.name : `${protocol.name} · ${protocol.ranks_by}`);
  });
  return svg("svg", { class: "slopes", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${caption} The table after this drawing has every rank.` },
    heads, slopes);
}

function kindOf(places) {
  if (new Set(places).size === 1) return "still";
  const change = places[0] - places.at(-1);
  return change > 0 ? "up" : change < 0 ? "down" : "both";
}

function shortened(text, room) {
  return text.length > room ? `${text.slice(0, Math.max(room - 1, 3))}…` : text;
}

function smooth(points) {
  return points.map(([a, b], i) => {
    const [x, y] = [a.toFixed(1), b.toFixed(1)];
    if (!i) return `M${x} ${y}`;
    const half = ((points[i - 1][0] + a) / 2).toFixed(1);
    return `C${half} ${points[i - 1][1].toFixed(1)} ${half} ${y} ${x} ${y}`;
  }).join("");
}
