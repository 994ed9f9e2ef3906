// The page: its head, the choice of a data set, and one section at a time.

const board = JSON.parse(document.getElementById("data").textContent);
const views = [...board.datasets.map(({ name, title }) => ({ name, title })), ...(board.robustness ? [{ name: ROBUST, title: board.robustness.title }] : [])];
const { title } = document;
let section = null;

function drawHead() {
  const { planned, complete, problems, first_failure: first } = board;
  const [warning, ...rest] = board.scale === "full" ? [null, ...board.notes] : board.notes; // a small scale warns of itself first
  fill(document.getElementById("head"), {}, [
    el("p", { class: "lead" }, "Audio-visual segmentation: every method on the same data, trained by one engine, scored under every protocol from one stored prediction."),
    board.partial && el("div", { class: "banner", role: "note" }, el("strong", {}, "This page is partial. "),
      "The workflow stopped with an error; the numbers are of what was complete by then.",
      first && [el("br"), "First failure: ", el("span", { class: "failure" }, first)]),
    warning && el("p", { class: "banner", role: "note" }, prose(warning)),
    el("p", { class: "progress" }, el("span", { class: complete < planned ? "part" : "whole" }, `${complete} of ${planned}`), ` planned runs are complete${problems ? `: ${problems}` : ""}.`),
    rest.length > 0 && fold("How to read these numbers", notes(rest)),
    el("nav", { "aria-label": "Data sets" }, el("ul", {}, views.map(({ name, title }) => el("li", {}, el("a", { "data-view": name }, shortTitle(title, name)))))),
  ]);
}

/** What stands in brackets is what a data set is called. */
function shortTitle(title, name) {
  return name === ROBUST ? "Does it listen?" : /\(([^)]+)\)/.exec(title)?.[1] ?? title.replace(` · ${board.scale}`, "");
}

/** Where each link leads: another data set under the same protocol and filters. */
function drawLinks() {
  for (const each of document.querySelectorAll("nav [data-view]")) {
    each.href = addressOf({ data: each.dataset.view, sort: "", reference: "", open: "" });
    if (each.dataset.view === section?.id) {
      each.setAttribute("aria-current", "page");
      each.closest("nav").scrollLeft = each.offsetLeft - 40;
    } else each.removeAttribute("aria-current");
  }
}

/** Draw what the address asks for; `moved`: the reader went there by a link. */
function drawView(moved) {
  readAddress();
  const dataset = board.datasets.find(({ name }) => name === state.data) ?? board.datasets[0];
  const before = section?.id;
  section = board.robustness && (state.data === ROBUST || !dataset) ? robustSection(board.robustness) : dataset ? datasetSection(dataset) : emptySection();
  document.getElementById("main").replaceChildren(section);
  section.draw?.();
  document.title = `${section.querySelector("h2").textContent} – ${title}`;
  drawLinks();
  if (moved && before !== section.id) {
    const heading = section.querySelector("h2");
    heading.focus({ preventScroll: true });
    document.querySelector("nav").scrollIntoView({ block: "start", behavior: calm() ? "auto" : "smooth" });
    announce(heading.textContent);
  }
}

/** Open a row of the section on the page, and go there. */
function showRow(row) {
  section.show(row);
}

function emptySection() {
  return el("section", { id: "empty", "aria-labelledby": "title-empty" }, el("h2", { id: "title-empty", tabindex: "-1" }, "Nothing yet"),
    el("p", { class: "empty" }, "No data set has a planned run. Choose some in ", el("code", {}, "config/config.yaml"), "."));
}

function drawFoot() {
  const others = Object.entries(board.other_sets).map(([name, count]) => `${name} (${count})`).join(", ");
  const files = board.partial ? ["leaderboard.partial.md"] : ["leaderboard.md", "leaderboard.parquet"];
  fill(document.getElementById("foot"), {}, [
    el("p", {}, "Every column names a metric of one protocol; numbers of different protocols are never ranked together. Per-frame integers lie beside each run; the same tables stand in ",
      files.map((name, i) => [i ? " and " : "", link(name, name)]), "."),
    others && el("p", {}, `Published numbers that are not shown, because no data set here corresponds to them: ${others}.`),
  ]);
}

drawHead();
drawFoot();
drawView(false);
addEventListener("hashchange", () => drawView(true));
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // its address would be a view where nothing is chosen
  document.getElementById("main").focus();
});
addEventListener("pointerdown", (event) => {
  for (const menu of document.querySelectorAll(".menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== width) section.drawFigures?.();
  width = innerWidth;
});
document.documentElement.dataset.ready = performance.now().toFixed(0);
