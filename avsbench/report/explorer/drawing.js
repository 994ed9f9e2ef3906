// The cells of a clip: one frame each, with what is drawn over it. Canvases, because they cut strips without seams;
// nothing is read back from them.

const VIEWS = {
  picture: "Picture",
  truth: "Ground truth",
  prediction: "Prediction",
  errors: "Errors",
  probability: "Probability",
};

/** A frame of a clip.
 *  strips: {frames, truth, sheet} of loaded pictures; layer: null, "truth" or the row of the sheet. */
function cell(clip, frame, strips, layer, words, side) {
  const [height, width] = clip.size;
  const scale = Math.max(1, Math.min(8, Math.floor(side / Math.max(height, width))));
  const canvas = el("canvas", { role: "img", "aria-label": words, width: width * scale, height: height * scale });
  const context = canvas.getContext("2d");
  const put = (image, row) => context.drawImage(
    image, frame * width, row * height, width, height, 0, 0, width * scale, height * scale);
  context.imageSmoothingQuality = "high";
  put(strips.frames, 0);
  context.imageSmoothingEnabled = false; // a mask has no values between two pixels
  if (layer === "truth") put(strips.truth, 0);
  else if (layer !== null && strips.sheet) put(strips.sheet, layer);
  return canvas;
}

function percent(value) {
  return value === null || value === undefined ? NOTHING : (100 * value).toFixed(1);
}

/** The numbers of a frame of a run in words. */
function inWords(shared, numbers) {
  if (!numbers) return "no ground truth";
  const kinds = Object.keys(shared.errors);
  const shares = numbers.shares.map((share, i) => [kinds[i], share])
    .filter(([kind]) => kind !== "wrong class" || shared.task === "semantic")
    .map(([kind, share]) => `${kind} ${share.toFixed(1)} %`);
  return `IoU ${percent(numbers.iou)}, F ${percent(numbers.f)}; of the pixels: ${shares.join(", ")}`;
}

/** What the colours of a view mean; null where they are the picture's own. */
function legend(shared, view, ids) {
  const entry = (colour, text) => {
    const swatch = el("span", { class: "swatch" });
    swatch.style.background = colour;
    return el("li", {}, swatch, text);
  };
  if (view === "picture") return null;
  if (view === "errors") {
    const kinds = Object.entries(shared.errors).filter(([kind]) => kind !== "wrong class" || shared.task === "semantic");
    return el("ul", { class: "legend", "aria-label": "Colours" }, kinds.map(([kind, [colour, text]]) => entry(colour, `${kind}: ${text}`)));
  }
  if (view === "probability") {
    const bar = el("span", { class: "ramp" });
    bar.style.background = `linear-gradient(to right, ${shared.heat.join(", ")})`;
    return el("p", { class: "legend" }, "probability 0 ", bar, " 1");
  }
  const names = shared.task === "semantic" ? ids.map((id) => [shared.colours[id], shared.classes[id].replaceAll("_", " ")]) : [[shared.colours[1], "sounds"]];
  return el("ul", { class: "legend", "aria-label": "Colours" }, names.map(([colour, text]) => entry(colour, text)));
}
