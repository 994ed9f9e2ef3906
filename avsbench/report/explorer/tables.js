// Numbers of a clip: each frame, and each class of the frame shown.

function tables(shared, clip, lanes, frame) {
  const frames = [...Array(clip.frames).keys()];
  const table = (caption, head, rows) => el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    el("table", {}, el("caption", {}, caption),
      el("thead", {}, el("tr", {}, head.map((text, i) => el("th", { scope: "col", class: i ? "number" : null }, text)))),
      el("tbody", {}, rows)));
  const row = (name, cells) => el("tr", {}, el("th", { scope: "row" }, name), cells.map((cell) => el("td", { class: "number" }, cell)));
  const both = (numbers) => (numbers ? `${percent(numbers.iou)} / ${percent(numbers.f)}` : NOTHING);
  const perFrame = clip.frames > 1 && table("IoU / F of each frame, in percent", ["run", ...frames.map((t) => `frame ${t + 1}`)],
    lanes.map((lane) => row(lane.run.name, frames.map((t) => both(lane.frames[t])))));
  if (shared.task !== "semantic") return [perFrame];
  const classes = new Map();
  lanes.forEach((lane, i) => {
    for (const [id, iou, labelled] of lane.frames[frame]?.classes ?? []) {
      const known = classes.get(id) ?? { labelled, each: lanes.map(() => null) };
      known.each[i] = iou;
      classes.set(id, known);
    }
  });
  const rows = [...classes].sort(([a], [b]) => a - b).map(([id, { labelled, each }]) => {
    const swatch = el("span", { class: "swatch" });
    swatch.style.background = shared.colours[id];
    return row([swatch, shared.classes[id].replaceAll("_", " ")], [labelled ? "yes" : "no", ...each.map(percent)]);
  });
  const which = clip.frames > 1 ? `frame ${frame + 1}` : "the picture";
  return [perFrame, table(`IoU of each class in ${which}, in percent`, ["class", "in the ground truth", ...lanes.map((lane) => lane.run.name)], rows)];
}
