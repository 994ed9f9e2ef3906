// The page: which clip, runs, view and frame are shown; the address says the same.

const SMALL = 96, LARGE = 448;

class Explorer {
  constructor(config, shared, runs) {
    Object.assign(this, { config, shared, runs });
    this.state = { clip: 0, runs: [config.run.id], view: "prediction", frame: 0 };
    this.loaded = new Map([[config.run.id, config.run]]);
    this.asked = 0;
    this.player = new Player((frame) => this.turn(frame));
    this.list = new ClipList(shared, (n) => this.go({ clip: n, frame: 0 }), () => this.place());
    this.parts = Object.fromEntries(["title", "about", "views", "legend", "panels", "strips", "numbers", "problems"].map((name) => [name, document.getElementById(name)]));
    document.getElementById("filters").append(this.list.node, this.list.count, this.list.meaning, this.list.list);
    document.getElementById("sound").append(this.player.audio);
    const wide = matchMedia("(min-width: 64rem)"), choice = document.getElementById("choice");
    const fold = () => { choice.open = wide.matches; };
    wide.addEventListener("change", fold);
    fold();
    document.getElementById("previous").addEventListener("click", () => this.step(-1));
    document.getElementById("next").addEventListener("click", () => this.step(1));
    this.chooser();
    document.addEventListener("keydown", (event) => this.key(event));
    window.addEventListener("hashchange", () => this.follow());
  }

  // what is shown

  /** Change the state, and the address with it; another clip is a step to go back from. */
  go(change) {
    const before = this.state;
    this.state = { ...before, ...change };
    const hash = `#${this.hash()}`;
    if (location.hash === hash) this.draw();
    else if (before.clip !== this.state.clip) location.hash = hash;
    else { location.replace(hash); }
  }

  hash() {
    const { clip, runs, view, frame } = this.state;
    return new URLSearchParams({ clip: this.shared.clips[clip].id, runs: runs.join(","), view, frame: frame + 1 }).toString();
  }

  /** Show what the address says; what it does not say, or what is unknown, stays. */
  follow() {
    const said = new URLSearchParams(location.hash.slice(1));
    const clip = this.shared.clips.findIndex((each) => each.id === said.get("clip"));
    const known = new Set(this.runs.map((run) => run.id));
    const runs = (said.get("runs") || "").split(",").filter((id) => known.has(id));
    const frame = Number.parseInt(said.get("frame"), 10) - 1;
    const state = { ...this.state };
    if (clip >= 0) state.clip = clip;
    if (runs.length) state.runs = [...new Set(runs)];
    if (said.get("view") in VIEWS) state.view = said.get("view");
    state.frame = frame >= 0 && frame < this.shared.clips[state.clip].frames ? frame : 0;
    this.state = state;
    this.draw();
  }

  async draw() {
    const asked = ++this.asked;
    const { clip, runs } = this.state;
    const lost = [];
    for (const id of runs) {
      await this.scores(id).catch((error) => lost.push([id, error]));
    }
    if (asked !== this.asked) return;
    this.problems(lost);
    if (lost.length) {
      const gone = new Set(lost.map(([id]) => id));
      this.runs = this.runs.filter((run) => !gone.has(run.id));
      this.state.runs = runs.filter((id) => !gone.has(id));
      if (!this.state.runs.length) this.state.runs = [this.config.run.id];
    }
    this.chooser();
    const shown = this.state.runs.map((id) => this.loaded.get(id));
    if (shown.some((run, i) => run !== this.list.runs[i]) || shown.length !== this.list.runs.length) this.list.show(shown);
    this.list.mark(clip);
    this.place();
    await this.open(asked, clip, shown);
  }

  /** The scores of a run, loaded when it is shown for the first time. */
  async scores(id) {
    if (!this.loaded.get(id)?.scores) {
      const run = this.runs.find((each) => each.id === id);
      const found = await data(path(run.folder, "scores.js"));
      if (found.version !== this.shared.version || found.clips !== this.shared.digest) {
        throw new Error("it was built for other clips, or by another version: build it again with avsbench explore");
      }
      this.loaded.set(id, { ...run, ...found });
    }
  }

  problems(lost) {
    this.parts.problems.replaceChildren(...lost.map(([id, error]) => el("p", {}, `${id} cannot be shown: ${error.message}`)));
  }

  /** Load the files of a clip, then show it. */
  async open(asked, number, shown) {
    const clip = this.shared.clips[number];
    const folder = `${this.config.shared}/media/${number}`;
    if (this.player.clip !== clip) {
      this.player.open(clip, folder, this.state.frame);
      this.files = new Map();
    }
    const failed = [];
    const wanted = (kind, file) => {
      if (!this.files.has(file)) this.files.set(file, kind(file));
      return this.files.get(file).catch((error) => { failed.push(["A file", error]); return null; });
    };
    const [frames, truth, ...found] = await Promise.all([
      wanted(picture, path(folder, "frames.jpg")),
      wanted(picture, path(folder, "truth.png")),
      ...shown.flatMap((run) => [
        wanted(picture, path(run.folder, "clips", `${number}.png`)),
        wanted(data, path(run.folder, "clips", `${number}.js`)),
      ]),
    ]);
    if (asked !== this.asked) return;
    if (failed.length) this.problems(failed);
    if (!frames || !truth) return;
    this.clip = clip;
    this.strips = { frames, truth };
    this.lanes = shown.map((run, i) => ({ run, strips: { frames, truth, sheet: found[2 * i] }, frames: found[2 * i + 1]?.frames ?? [] }));
    if (this.player.frame !== this.state.frame && clip.frames > 1) this.player.seek(this.state.frame);
    this.render();
    announce(`Clip ${clip.id}. ${this.lanes.map((lane) => `${lane.run.name}: ${percent(lane.run.scores[number])}`).join(". ")}`);
  }

  // drawing

  /** Everything about the clip. */
  render() {
    const { shared, clip, parts } = this;
    const heard = clip.heard.map((sound) => `${sound.category}${shared.still ? ` (${sideOf(sound.position)})` : ""}`).join(", ");
    const facts = [
      subject(shared, clip),
      clip.frames > 1 ? `${clip.frames} frames, a second each` : "a still picture",
      `${shared.sources}: ${clip.sources}`,
      clip.empty > 0 && (clip.frames > 1 ? `nothing sounds in ${plural(clip.empty, "frame")}` : "nothing sounds"),
      heard && shared.still && `heard: ${heard}`,
      clip.silent && "the sound is digital silence",
    ];
    parts.title.textContent = clip.id;
    parts.about.textContent = facts.filter(Boolean).join(" · ");
    this.views();
    this.drawLegend();
    this.drawStrips();
    this.drawFrame();
  }

  views() {
    const possible = Object.keys(VIEWS).filter((view) => view === "picture" || view === "truth" || this.lanes.some((lane) => lane.run.views.includes(view)));
    const view = this.view = possible.includes(this.state.view) ? this.state.view : "prediction";
    redraw(this.parts.views, el("legend", {}, "Show"), possible.map((name) => {
      const input = el("input", { type: "radio", name: "view", value: name, checked: name === view, "data-focus": `view ${name}` });
      input.addEventListener("change", () => this.go({ view: name }));
      return el("label", {}, input, VIEWS[name]);
    }));
  }

  drawLegend() {
    const ids = new Set(this.clip.present);
    for (const lane of this.lanes) for (const frame of lane.frames) for (const [id, , ] of frame?.classes ?? []) if (id > 0) ids.add(id);
    this.parts.legend.replaceChildren(...legend(this.shared, this.view, [...ids].sort((a, b) => a - b)));
  }

  /** Rows of pictures: what is true, and what each run says of it. */
  rows() {
    const plain = this.view === "picture";
    const truth = { name: plain ? "Picture" : "Ground truth", strips: this.strips, layer: plain ? null : "truth", frames: [] };
    if (this.view === "picture" || this.view === "truth") return [truth];
    return [truth, ...this.lanes.map((lane) => {
      const row = lane.run.views.indexOf(this.view);
      return { ...lane, name: lane.run.name, layer: row < 0 ? null : row, missing: row < 0, grey: row >= 0 && ["errors", "probability"].includes(this.view) };
    })];
  }

  words(row, frame) {
    const what = `${row.name}, frame ${frame + 1}`;
    if (!row.run) return what;
    return `${what}, ${VIEWS[this.view].toLowerCase()}: ${this.says(row, frame)}`;
  }

  /** What there is to say of a frame of a run. */
  says(row, frame) {
    if (row.missing) return this.view === "probability" ? "hard masks, no probability" : "not heard under this sound";
    return inWords(this.shared, row.frames[frame], this.view);
  }

  /** The same in a number. */
  brief(row, frame) {
    const numbers = row.frames[frame];
    return NEGATIVES.includes(this.view) ? fixed(numbers?.negatives?.[this.view], 1) : percent(numbers?.iou);
  }

  drawStrips() {
    const { clip, parts } = this;
    const strips = clip.frames === 1 ? [] : this.rows().map((row) => {
      const cells = [...Array(clip.frames).keys()].map((frame) => {
        const drawn = cell(clip, frame, row.strips, row, this.words(row, frame), SMALL);
        const score = row.run && el("span", { class: "score" }, this.brief(row, frame));
        const choose = () => this.choose(frame);
        if (row.run) return el("div", { class: "thumb", "data-frame": frame, onclick: choose }, drawn, score);
        drawn.removeAttribute("role");
        drawn.removeAttribute("aria-label");
        drawn.setAttribute("aria-hidden", "true");
        return el("button", { class: "thumb", type: "button", "data-frame": frame, "data-focus": `frame ${frame}`, "aria-label": `Frame ${frame + 1}`, onclick: choose }, drawn, el("span", { class: "score" }, `${frame + 1}`));
      });
      return el("div", { class: "lane", role: "group", "aria-label": row.name }, el("p", {}, row.name), el("div", { class: "cells" }, cells));
    });
    parts.strips.style.setProperty("--frames", clip.frames);
    redraw(parts.strips, this.player.box, this.player.note, strips);
  }

  /** What depends on the frame. */
  drawFrame() {
    const { clip, parts } = this;
    const frame = this.state.frame;
    const panels = this.rows().map((row) => el("figure", {},
      cell(clip, frame, row.strips, row, this.words(row, frame), LARGE),
      el("figcaption", {}, el("strong", {}, row.name), row.run ? ` · ${this.says(row, frame)}` : clip.frames > 1 ? ` · frame ${frame + 1} of ${clip.frames}` : "")));
    parts.panels.replaceChildren(...panels);
    for (const thumb of parts.strips.querySelectorAll(".thumb")) {
      const current = Number(thumb.dataset.frame) === frame;
      thumb.classList.toggle("current", current);
      if (thumb.tagName === "BUTTON") thumb.setAttribute("aria-pressed", String(current));
    }
    redraw(parts.numbers, tables(this.shared, clip, this.lanes, frame));
  }

  /** Which runs are shown. */
  chooser() {
    const host = document.getElementById("runs");
    redraw(host, el("legend", {}, `Runs shown (${this.state.runs.length} of ${this.runs.length})`), this.runs.map((run) => {
      const input = el("input", { type: "checkbox", value: run.id, checked: this.state.runs.includes(run.id), "data-focus": run.id });
      input.addEventListener("change", () => this.choosing(run.id, input));
      return el("label", {}, input, run.name);
    }));
  }

  choosing(id, input) {
    const runs = this.state.runs.filter((each) => each !== id);
    if (input.checked) runs.push(id);
    if (runs.length) this.go({ runs });
    else input.checked = true; // a page without a run shows nothing
  }

  // moving

  /** The sound reached another frame. */
  turn(frame) {
    if (frame === this.state.frame || this.player.clip !== this.clip) return; // the pictures come after the sound
    this.state.frame = frame;
    history.replaceState(null, "", `#${this.hash()}`);
    this.drawFrame();
  }

  choose(frame) {
    this.player.seek(frame);
  }

  step(places) {
    const clip = this.list.beside(places);
    if (clip !== this.state.clip) this.go({ clip, frame: 0 });
  }

  /** Where the clip stands among those listed. */
  place() {
    const place = this.list.numbers.indexOf(this.state.clip), last = this.list.numbers.length - 1;
    document.getElementById("place").textContent = place < 0 ? "not in the list" : `${place + 1} of ${last + 1}`;
    document.getElementById("previous").disabled = place === 0 || last < 0;
    document.getElementById("next").disabled = place === last;
  }

  key(event) {
    const own = event.target.closest("input, select, textarea, audio, summary") !== null;
    if (own || event.ctrlKey || event.altKey || event.metaKey || !this.clip) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step && event.shiftKey) this.choose(Math.min(this.clip.frames - 1, Math.max(0, this.state.frame + step)));
    else if (step) this.step(step);
    else if (event.key === " " && event.target.closest("button, a, [tabindex]:not(main)") === null) this.player.toggle();
    else return;
    event.preventDefault();
  }
}

function sideOf(position) {
  return position < 0.4 ? "left" : position > 0.6 ? "right" : "middle";
}

async function start() {
  const config = JSON.parse(document.getElementById("data").textContent);
  try {
    const [shared, scores] = await Promise.all([data(path(config.shared, "clips.js")), data("scores.js")]);
    if (shared.version !== scores.version || shared.digest !== scores.clips) {
      throw new Error("the clips of the data set have changed since: build this page again with avsbench explore");
    }
    config.run = { ...scores, folder: "." };
    const others = await data(path(config.shared, "runs.js")).then((found) => found.runs, () => []);
    const beside = others.map((run) => ({ ...run, folder: `${config.shared}/${run.path}` })).filter((run) => run.id !== scores.id);
    const page = new Explorer(config, shared, [config.run, ...beside]);
    page.follow();
  } catch (error) {
    document.getElementById("problems").replaceChildren(el("p", {}, `This page cannot be shown: ${error.message}.`));
  }
}

start();
