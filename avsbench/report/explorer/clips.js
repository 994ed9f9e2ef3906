// Which clips are listed, and in which order.

/** What a clip is called besides its id: the category of the table, or the classes in its ground truth. */
function subject(shared, clip) {
  const names = clip.present.length ? clip.present.map((id) => shared.classes[id]) : clip.category ? [clip.category] : [];
  return names.map((name) => name.replaceAll("_", " ")).join(", ");
}

/** Class names that clips can be filtered by, with the number of clips. */
function subjects(shared) {
  const counts = new Map();
  for (const clip of shared.clips) {
    for (const name of labels(shared, clip)) counts.set(name, (counts.get(name) || 0) + 1);
  }
  return [...counts].sort(([a], [b]) => a.localeCompare(b));
}

function labels(shared, clip) {
  return clip.present.length ? clip.present.map((id) => shared.classes[id]) : clip.category ? [clip.category] : [];
}

/** Words for the frames of a clip in which nothing sounds. */
const SILENCE = {
  none: ["sounds in every frame", (clip) => clip.empty === 0],
  some: ["silent in some frames", (clip) => clip.empty > 0 && clip.empty < clip.annotated],
  all: ["silent in every frame", (clip) => clip.empty > 0 && clip.empty === clip.annotated],
};

const ORDERS = {
  table: "as in the table",
  worst: "worst first",
  best: "best first",
  difference: "largest difference first",
};

/** Numbers of the clips that pass the filters {text, subject, sources, silence}, in an order.
 *  scores: a list per run shown, of numbers or null. Unknown ones come last. */
function listed(shared, filters, order, scores) {
  const text = filters.text.trim().toLowerCase();
  const found = [...shared.clips.keys()].filter((n) => {
    const clip = shared.clips[n];
    return (!text || clip.id.toLowerCase().includes(text))
      && (!filters.subject || labels(shared, clip).includes(filters.subject))
      && (!filters.sources || String(clip.sources) === filters.sources)
      && (!filters.silence || SILENCE[filters.silence][1](clip));
  });
  const key = {
    worst: (n) => scores[0]?.[n],
    best: (n) => negative(scores[0]?.[n]),
    difference: (n) => negative(distance(scores, n)),
  }[order];
  if (!key) return found;
  const keys = new Map(found.map((n) => [n, key(n) ?? Infinity]));
  return found.sort((a, b) => compare(keys.get(a), keys.get(b)) || a - b);
}

/** How far the first two runs lie apart; null where one has no score. */
function distance(scores, n) {
  const [a, b] = [scores[0]?.[n] ?? null, scores[1]?.[n] ?? null];
  return a === null || b === null ? null : Math.abs(a - b);
}

function negative(value) {
  return value === null || value === undefined ? null : -value;
}

function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}
