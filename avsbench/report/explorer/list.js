// The list of clips: filters, order, and a button a clip with its scores.

class ClipList {
  /** onopen(n): a clip was chosen; onchange(): the list became another one. */
  constructor(shared, onopen, onchange) {
    this.shared = shared;
    this.onopen = onopen;
    this.onchange = onchange;
    this.filters = { text: "", subject: "", sources: "", silence: "" };
    this.order = "table";
    this.runs = [];
    this.numbers = [];
    this.current = null;
    this.list = el("ol", { class: "clips" });
    this.count = el("p", { class: "count", role: "status" });
    this.meaning = el("p", { class: "note" });
    this.orders = this.select("Order", "order", Object.entries(ORDERS), (value) => { this.order = value; });
    const counts = [...new Set(shared.clips.map((clip) => clip.sources))].sort((a, b) => a - b);
    const silences = Object.entries(SILENCE).filter(([, [, holds]]) => shared.clips.some(holds));
    const filter = (key) => (value) => { this.filters[key] = value; };
    const classes = subjects(shared);
    const search = el("input", { type: "search", autocomplete: "off" });
    search.addEventListener("input", () => { this.filters.text = search.value; this.draw(); });
    this.node = el("div", { class: "filters" },
      this.orders,
      classes.length > 1 && this.select("Class", "subject", [["", "all"], ...classes.map(([name, count]) => [name, `${name.replaceAll("_", " ")} (${count})`])], filter("subject")),
      counts.length > 1 && this.select(`Number of ${shared.sources}`, "sources", [["", "any"], ...counts.map((count) => [String(count), String(count)])], filter("sources")),
      silences.length > 1 && this.select("Silence", "silence", [["", "any"], ...silences.map(([key, [text]]) => [key, text])], filter("silence")),
      el("label", {}, "Name contains", search));
  }

  select(text, name, options, change) {
    const node = el("select", { name }, options.map(([value, words]) => el("option", { value }, words)));
    node.addEventListener("change", () => { change(node.value); this.draw(); });
    return el("label", {}, text, node);
  }

  /** Other runs are shown: [{name, scores}]. */
  show(runs) {
    this.runs = runs;
    const difference = this.orders.querySelector("option[value=difference]");
    difference.disabled = runs.length < 2;
    if (runs.length < 2 && this.order === "difference") this.orders.querySelector("select").value = this.order = "table";
    this.meaning.textContent = `Numbers: ${runs[0].metricTitle}, of the clip alone, in percent; a line for each run shown.`;
    this.draw();
  }

  /** List anew. */
  draw() {
    const scores = this.runs.map((run) => run.scores);
    this.numbers = listed(this.shared, this.filters, this.order, scores);
    const all = this.shared.clips.length;
    this.count.textContent = this.numbers.length === all ? plural(all, "clip") : `${this.numbers.length} of ${plural(all, "clip")}`;
    if (this.order !== "table" && this.runs.length) {
      const [a, b] = this.runs.map((run) => run.name);
      this.count.textContent += this.order === "difference" ? `, by the difference of ${a} and ${b}` : `, by ${a}`;
    }
    this.list.replaceChildren(...this.numbers.map((n) => el("li", {}, this.entry(n))));
    this.mark(this.current);
    this.onchange();
  }

  entry(n) {
    const clip = this.shared.clips[n];
    const about = subject(this.shared, clip);
    return el("button", { type: "button", "data-clip": n, onclick: () => this.onopen(n) },
      el("span", { class: "id" }, clip.id),
      about && el("span", { class: "about" }, about),
      el("span", { class: "scores" }, this.runs.map((run) => el("span", { title: run.name }, percent(run.scores[n])))));
  }

  /** Say which clip is open. */
  mark(n) {
    this.current = n;
    for (const button of this.list.querySelectorAll("[aria-current]")) button.removeAttribute("aria-current");
    const button = this.list.querySelector(`[data-clip="${n}"]`);
    if (!button) return;
    button.setAttribute("aria-current", "true");
    const reach = () => {
      const box = this.list.getBoundingClientRect(), place = button.getBoundingClientRect();
      if (place.top < box.top || place.bottom > box.bottom) this.list.scrollTop += place.top - box.top - box.height / 3;
    };
    reach();
    requestAnimationFrame(() => requestAnimationFrame(reach)); // entries that came into sight have their true height
  }

  /** The clip so many places after the one open; itself where there is none. */
  beside(step) {
    const place = this.numbers.indexOf(this.current);
    return this.numbers[place < 0 ? 0 : place + step] ?? this.current;
  }
}
