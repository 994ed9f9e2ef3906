// What a reader can choose above a ranked table.

/** Protocol, filters and reference; `on` has protocol(), filter(changes), reference(id). */
function controls(dataset, on) {
  return el("form", { class: "controls", "aria-label": "What the table shows", onsubmit: (event) => event.preventDefault() },
    protocolChoice(dataset, on),
    // On a phone the table comes first; what was chosen is never hidden.
    el("details", { class: "more", open: innerWidth > 640 || [state.find, state.hide, state.without, state.reference].some(Boolean) },
      el("summary", {}, "Filter and compare"),
      el("div", {}, finder(on), kindChoice(dataset, on), methodChoice(dataset, on), referenceChoice(dataset, on))));
}

function protocolChoice(dataset, on) {
  const active = protocolOf(dataset);
  return el("fieldset", { class: "protocols" }, el("legend", {}, "Rank the same predictions by protocol"), dataset.protocols.map((protocol) => el("label", {},
    el("input", { type: "radio", name: `protocol ${dataset.name}`, value: protocol.name, checked: protocol === active, onchange: () => on.protocol(protocol) }),
    el("span", { class: "card-label" }, el("b", {}, protocol.name), el("span", { class: "metric" }, protocol.ranks_by), el("span", { class: "small" }, protocol.title)))));
}

function finder(on) {
  let waiting = 0;
  const type = (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => on.filter({ find: event.target.value.trim() }), 120);
  };
  return el("label", { class: "field" }, el("span", {}, "Find"),
    el("input", { type: "search", class: "find", value: state.find, placeholder: "method, paper, encoder …", oninput: type }));
}

/** A tick a kind of row that occurs; without it these rows are left out. */
function kindChoice(dataset, on) {
  const kinds = KINDS.filter((kind) => dataset.rows.some((row) => row.badges.includes(kind)));
  return kinds.length ? tickBoxes("Show", kinds, "hide", (kind) => board.badges[kind], on) : null;
}

function methodChoice(dataset, on) {
  const methods = [...new Set(dataset.rows.map((row) => row.method))].sort();
  if (methods.length < 2 && !chosen("without").has(methods[0])) return null; // left out of another data set, it can come back
  const away = methods.filter((method) => chosen("without").has(method)).length;
  const summary = el("summary", {}, "Methods ", el("span", { class: "count" }, `${methods.length - away} of ${methods.length}`));
  const count = (changes) => {
    on.filter(changes);
    summary.querySelector(".count").textContent = `${methods.filter((method) => !chosen("without").has(method)).length} of ${methods.length}`;
  };
  const close = ({ key, currentTarget }) => {
    if (key !== "Escape" || !currentTarget.open) return;
    currentTarget.open = false;
    summary.focus();
  };
  return el("details", { class: "menu", onkeydown: close }, summary, tickBoxes("Methods", methods, "without", () => null, { filter: count }));
}

function tickBoxes(legend, names, choice, help, on) {
  return el("fieldset", { class: "choices" }, el("legend", {}, legend), names.map((name) => el("label", { title: help(name) },
    el("input", {
      type: "checkbox", checked: !chosen(choice).has(name),
      onchange: (event) => on.filter({ [choice]: listed(choice, name, !event.target.checked) }),
    }), name)));
}

function referenceChoice(dataset, on) {
  const option = (value, text) => el("option", { value, selected: state.reference === value }, text);
  return el("label", { class: "field" }, el("span", {}, "Compare with"),
    el("select", { class: "compare", onchange: (event) => on.reference(event.target.value) },
      option("", "no row"), dataset.rows.map((row) => option(row.id, row.name))));
}
