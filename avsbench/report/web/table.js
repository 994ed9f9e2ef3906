// Tables: a caption, headers that sort, a region that scrolls by itself and by keyboard.

let regions = 0;

/**
 * A table.
 *   caption: text. columns: [{key, label, help, numeric, sticky, value(row), cell(row), first}]: `value` makes a column
 *     sortable, `first` is the direction of its first click ("desc" where more is better), `cell` gives what is shown;
 *     the column `head` names the row.
 *   groups: [{title, rows}]; titles are shown where there are several.
 *   sort: {key, descending} or null; onsort(key, descending).
 *   detail(row): what opens beneath a row, or null.
 *   mark(row): a class for the row. hidden: whether the caption is for screen readers alone.
 */
function table({ caption, columns, groups, sort = null, onsort = null, detail = null, mark = null, quiet = false, name = "" }) {
  const id = `caption-${++regions}`;
  const head = el("tr", {}, columns.map((column) => headerCell(column, sort, onsort, name)));
  const bodies = groups.filter((group) => group.rows.length).map((group) => {
    const titled = group.title && groups.length > 1;
    return el("tbody", {},
      titled && el("tr", { class: "group" }, el("th", { scope: "rowgroup", colspan: columns.length }, el("span", {}, group.title))),
      group.rows.map((row) => bodyRows(row, columns, detail, mark)));
  });
  return el("div", { class: "scroll", role: "region", tabindex: "0", "aria-labelledby": id, "data-focus": `${name}region` },
    el("table", {}, el("caption", { id, class: quiet ? "unseen" : null }, el("span", {}, caption)), el("thead", {}, head), bodies));
}

function headerCell(column, sort, onsort, name) {
  const attributes = { scope: "col", class: classes(column), title: column.help };
  const label = column.label.split("_").flatMap((part, i) => (i ? ["_", el("wbr"), part] : [part])); // it may break there
  if (!column.value || !onsort) return el("th", attributes, label);
  const active = sort?.key === column.key;
  if (active) attributes["aria-sort"] = sort.descending ? "descending" : "ascending";
  const descending = active ? !sort.descending : column.first === "desc";
  const arrow = el("span", { class: "arrow", "aria-hidden": "true" }, active ? (sort.descending ? "▼" : "▲") : "");
  const click = () => onsort(column.key, descending, column.label);
  return el("th", attributes, el("button", { type: "button", onclick: click, "data-focus": `${name}sort ${column.key}` }, label, arrow));
}

function bodyRows(row, columns, detail, mark) {
  const cells = columns.map((column) => {
    const tag = column.head ? "th" : "td";
    return el(tag, { class: classes(column), scope: column.head ? "row" : null }, column.cell(row));
  });
  const more = detail?.(row);
  return [
    el("tr", { class: mark?.(row), "data-row": row.id }, cells),
    more && el("tr", { class: "detail", id: detailId(row) }, el("td", { colspan: columns.length }, el("div", {}, more))),
  ];
}

function classes(column) {
  return [column.numeric && "number", column.sticky && `sticky-${column.sticky}`].filter(Boolean).join(" ") || null;
}

function detailId(row) {
  return `runs of ${row.id}`.replaceAll(/\s/g, "_");
}

/** A table whose order is nobody's choice but the reader's: sorts itself, remembers nothing. */
function freeTable(options) {
  const host = el("div", {});
  let sort = null;
  const draw = () => {
    const column = options.columns.find((each) => each.key === sort?.key);
    const groups = options.groups.map((group) => (
      { ...group, rows: column ? sorted(group.rows, column.value, sort.descending) : group.rows }));
    const onsort = (key, descending, label) => {
      sort = { key, descending };
      draw();
      announce(`${options.caption}: sorted by ${label}, ${descending ? "descending" : "ascending"}.`);
    };
    redraw(host, table({ ...options, groups, sort, onsort }));
  };
  draw();
  return host;
}
