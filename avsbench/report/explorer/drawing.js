// The cells of a clip: one frame each, with what is drawn over it. Canvases, because they cut strips without seams;
// nothing is read back from them.

const VIEWS = {
  picture: "Picture",
  truth: "Ground truth",
  prediction: "Prediction",
  errors: "Errors",
  probability: "Probability",
  silence: "Under silence",
  noise: "Under noise",
  offscreen: "Under off-screen sound",
};
/** Views of what a run says when it hears another sound than the clip's. */
const NEGATIVES = ["silence", "noise", "offscreen"];

/** A frame of a clip.
 *  strips: {frames, truth, sheet} of loaded pictures; layer: null, "truth" or the row of the sheet; grey: without the
 *  picture's colours, where those drawn over it must not be mistaken. */
function cell(clip, frame, strips, { layer, grey }, words, side) {
  const [height, width] = clip.size;
  const scale = Math.max(1, Math.min(8, Math.floor(side / Math.max(height, width))));
  const canvas = el("canvas", { role: "img", "aria-label": words, width: width * scale, height: height * scale });
  const context = canvas.getContext("2d");
  const put = (image, row) => context.drawImage(
    image, frame * width, row * height, width, height, 0, 0, width * scale, height * scale);
  context.imageSmoothingQuality = "high";
  if (grey) context.filter = "grayscale(1)";
  put(strips.frames, 0);
  context.filter = "none";
  context.imageSmoothingEnabled = false; // a mask has no values between two pixels
  if (layer === "truth") put(strips.truth, 0);
  else if (layer !== null && strips.sheet) put(strips.sheet, layer);
  return canvas;
}

function percent(value) {
  return value === null || value === undefined ? NOTHING : (100 * value).toFixed(1);
}

/** The numbers of a frame of a run in words. */
function inWords(shared, numbers, view) {
  if (!numbers) return "no ground truth";
  if (NEGATIVES.includes(view)) {
    const share = numbers.negatives[view];
    return share === null ? "no such sound for this clip" : `marks ${share.toFixed(1)} % of the pixels, and should mark none`;
  }
  const kinds = Object.keys(shared.errors);
  const shares = numbers.shares.map((share, i) => [kinds[i], share])
    .filter(([kind]) => kind !== "wrong class" || shared.task === "semantic")
    .map(([kind, share]) => `${kind} ${share.toFixed(1)} %`);
  return `IoU ${percent(numbers.iou)}, F ${percent(numbers.f)}; of the pixels: ${shares.join(", ")}`;
}

/** What a view shows: the meaning of its colours, and a sentence where they do not say it all. */
function legend(shared, view, ids) {
  const entry = (colour, text) => {
    const swatch = el("span", { class: "swatch" });
    swatch.style.background = colour;
    return el("li", {}, swatch, text);
  };
  if (view === "picture") return [];
  if (view === "errors") {
    const kinds = Object.entries(shared.errors).filter(([kind]) => kind !== "wrong class" || shared.task === "semantic");
    return [el("ul", { class: "legend", "aria-label": "Colours" }, kinds.map(([kind, [colour, text]]) => entry(colour, `${kind}: ${text}`)))];
  }
  if (view === "probability") {
    const bar = el("span", { class: "ramp" });
    bar.style.background = `linear-gradient(to right, ${shared.heat.join(", ")})`;
    return [el("p", { class: "legend" }, "probability 0 ", bar, " 1")];
  }
  const names = shared.task === "semantic" ? ids.map((id) => [shared.colours[id], shared.classes[id].replaceAll("_", " ")]) : [[shared.colours[1], "sounds"]];
  const colours = el("ul", { class: "legend", "aria-label": "Colours" }, names.map(([colour, text]) => entry(colour, text)));
  const heard = { silence: "silence", noise: "white noise", offscreen: "the sound of a clip with other objects" }[view];
  return heard ? [colours, el("p", { class: "note" }, `What each run marks when it hears ${heard} under these pictures. The ground truth, and the player, are with the clip's own sound.`)] : [colours];
}
