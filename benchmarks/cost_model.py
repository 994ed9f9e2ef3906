"""What the full leaderboard of AVSBench costs at 1, 10 and 1000 times its clips: disk, CPU-hours, GPU-hours, limits.

    python -m benchmarks.cost_model [--figures benchmarks/figures.yaml] [--write docs/scale.md]

Prints the tables of docs/scale.md; --write puts them into it. Numbers of clips, epochs, memory and time limits come
from the cards and rules, everything else from the file of figures. Formulas stand in docs/scale.md.
"""

import argparse
import dataclasses
import math
import re
import sys
from pathlib import Path

import yaml

from avsbench import cards
from avsbench.atomic import atomic
from avsbench.datasets.space import _SOUND_BYTES as SOUND_BYTES
from avsbench.datasets.space import readable
from avsbench.media.front_ends import FRONT_ENDS
from benchmarks.common import number
from benchmarks.extract import frames_of_full_avss

FIGURES = Path(__file__).with_name("figures.yaml")
DATASETS = ("s4", "ms3", "avss")
FACTORS = (1, 10, 1000)
SEEDS = 3
SIZE = 224
EXTRACT_MINUTES = 120
"""Minutes that the rule `extract` asks for."""
SCORE_MB, SCORE_MINUTES = 2000, 60
"""What the rule `score` asks for."""
CHECKSUM_MB = 20
"""`max-checksum-file-size` of the profile: larger files are compared by date."""
PLAN_SECONDS = 5.0
TRAINING_PROCESSES = 9
"""Of a training on a GPU: eight that read data, and itself."""


class Model:
    """Costs at `factor` times the clips.

    Args:
        figures: name -> {value, …} of figures.yaml.
    """

    def __init__(self, figures: dict, factor: int = 1):
        self.figures, self.factor = figures, factor
        self.cards = {name: cards.dataset(name) for name in DATASETS}

    def __getitem__(self, name: str) -> float:
        return self.figures[name]["value"]

    def clips(self, dataset: str, *splits: str) -> int:
        counts = self.cards[dataset].splits["full"]
        return self.factor * sum(counts[split] for split in splits or counts)

    def frames(self, dataset: str, *splits: str) -> float:
        """Real frames: AVSS has clips of 5 and of 10, the others of 5."""
        mean = frames_of_full_avss() / sum(self.cards["avss"].splits["full"].values()) if dataset == "avss" else 5
        return mean * self.clips(dataset, *splits)

    def kind(self, dataset: str) -> str:
        return self.cards[dataset].task

    # disk

    def data_bytes(self) -> dict[str, float]:
        """Stage -> bytes, whatever is trained."""
        everything = {name: self.frames(name) for name in DATASETS}
        pictures = sum(everything.values()) * SIZE**2 * 4
        mel = math.prod(FRONT_ENDS["vggish_mel"].frame_shape(still=False)) * 4
        released = sum(self.clips(name) * self.cards[name].release["bytes_per_clip"] for name in DATASETS)
        return {
            "release, unpacked": released,
            "shards: frames and masks": pictures,
            "shards: sound": sum(everything.values()) * SOUND_BYTES,
            "front end `vggish_mel`": sum(everything.values()) * mel,
            "originals (only where a card asks)": released,
        }

    def run_bytes(self, variant: str, dataset: str) -> dict[str, float]:
        """What one run leaves: weights, stored prediction, per-frame rows."""
        frames, kind = self.frames(dataset, "test"), self.kind(dataset)
        return {
            "weights": 1e6 * self[f"{variant}.weights"],
            "predictions": frames * self[f"predictions_{kind}"],
            "per-frame rows": frames * self[f"rows_{kind}"],
        }

    # time

    def cpu_hours(self) -> dict[str, float]:
        """Stage -> hours of one core for the data, and for scoring one run of each data set."""
        pictures = {"s4": "png", "ms3": "png", "avss": "jpeg"}
        sounds = {"s4": "16khz", "ms3": "16khz", "avss": "44khz"}
        return {
            "extract": sum(self.frames(name) / self[f"extract_{pictures[name]}"] for name in DATASETS) / 3600,
            "front ends (all eight)": sum(self.clips(name) / self[f"front_ends_{sounds[name]}"] for name in DATASETS)
            / 3600,
            "score (a run of each data set)": sum(map(self.score_seconds, DATASETS)) / 3600,
        }

    def score_seconds(self, dataset: str) -> float:
        return self.frames(dataset, "test") / self[f"score_{self.kind(dataset)}"]

    def gpu_hours(self, variant: str, dataset: str) -> dict[str, float]:
        """Estimated hours of one GPU for one run: training (bfloat16), validation, prediction (float32)."""
        recipe = cards.variant(variant).recipe("full", dataset)
        rule = recipe.get("validate", {})
        validations = len(range(rule.get("start", 0), recipe["epochs"], rule.get("every", 1)))
        step = self[self.operations(variant, dataset)]
        forward = step / 3  # a backward pass costs twice the forward one
        fast, exact = self["peak_bf16"] * self["share_of_peak"], self["peak_float32"] * self["share_of_peak"]
        return {
            "train": recipe["epochs"] * self.frames(dataset, "train") * step / fast / 3600,
            "validate": validations * self.frames(dataset, "val") * forward / fast / 3600,
            "predict": self.frames(dataset, "test") * forward / exact / 3600,
        }

    def frames_per_second(self, variant: str, dataset: str) -> float:
        """Estimated frames that a training on one GPU takes in."""
        return self["peak_bf16"] * self["share_of_peak"] / self[self.operations(variant, dataset)]

    def operations(self, variant: str, dataset: str) -> str:
        """The figure of a variant on a data set; where only S4 was measured, that of S4."""
        own = f"{variant}.{dataset}"
        return own if own in self.figures else f"{variant}.s4"

    def variants(self) -> list[str]:
        """Those that can be trained and have a figure."""
        found = cards.variants().items()
        return [name for name, variant in found if variant.method.trainable and f"{name}.s4" in self.figures]


# tables


def table(headers: list[str], rows: list[list[str]]) -> str:
    lines = [headers, ["---", *["---:"] * (len(headers) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def inputs_table(figures: dict) -> str:
    rows = [
        [f"`{name}`", f"{number(entry['value'])} {entry['unit']}".strip(), entry["kind"], entry["meaning"]]
        for name, entry in figures.items()
    ]
    return table(["figure", "value", "kind", "of"], rows)


def size_table(figures: dict) -> str:
    models = [Model(figures, factor) for factor in FACTORS]
    rows = [["clips", *(f"{sum(map(model.clips, DATASETS)):,}" for model in models)]]
    rows.append(["frames", *(f"{sum(map(model.frames, DATASETS)):,.0f}" for model in models)])
    stages = [model.data_bytes() for model in models]
    rows += [[stage, *(readable(each[stage]) for each in stages)] for stage in stages[0]]
    for kind in ("weights", "predictions", "per-frame rows"):
        totals = [
            SEEDS * sum(model.run_bytes(v, name)[kind] for v in model.variants() for name in DATASETS)
            for model in models
        ]
        rows.append([f"{kind} of all runs", *map(readable, totals)])
    return table(["", *(f"{factor}×" for factor in FACTORS)], rows)


def cpu_table(figures: dict) -> str:
    hours = [Model(figures, factor).cpu_hours() for factor in FACTORS]
    rows = [[stage, *(number(each[stage]) for each in hours)] for stage in hours[0]]
    return table(["hours of one core", *(f"{factor}×" for factor in FACTORS)], rows)


def gpu_table(figures: dict) -> str:
    model, rows, total = Model(figures), [], 0.0
    for variant in model.variants():
        for dataset in cards.variant(variant).datasets:
            if dataset not in DATASETS:
                continue
            hours = model.gpu_hours(variant, dataset)
            seeds = SEEDS * sum(hours.values())
            total += seeds
            parts = [number(hours[part]) for part in ("train", "validate", "predict")]
            read = number(model.frames_per_second(variant, dataset))
            rows.append([f"{variant}, {dataset}", *parts, read, *(number(seeds * factor) for factor in FACTORS)])
    rows.append([f"all, {SEEDS} seeds", *[""] * 4, *(number(total * factor) for factor in FACTORS)])
    seeds = [f"{SEEDS} seeds, {factor}×" for factor in FACTORS]
    return table(["GPU-hours (estimates)", "train", "validate", "predict", "frames/s read", *seeds], rows)


@dataclasses.dataclass(frozen=True)
class Limit:
    """Something that grows with the clips, and what it must not exceed.

    Attributes:
        grows: its part at 1x that grows in proportion; `fixed` does not.
        most, source: the limit and who says so, in `unit`.
        plan: points of the plan in docs/scale.md that answer it.
    """

    what: str
    grows: float
    most: float
    unit: str
    source: str
    plan: str
    fixed: float = 0.0

    @property
    def factor(self) -> float:
        """How many times the clips reach it."""
        return (self.most - self.fixed) / self.grows

    @property
    def line(self) -> list[str]:
        now, most = (f"{number(value)} {self.unit}".strip() for value in (self.fixed + self.grows, self.most))
        return [self.what, now, f"{most} ({self.source})", f"{number(self.factor)}×", self.plan]


def limits(figures: dict) -> list[Limit]:
    """What breaks, the first to break first. Shards stay as many as they are unless the text says otherwise."""
    model = Model(figures)
    counts, variant = model.cards["avss"].shards["full"], cards.variant("tpavi-r50")
    asked = variant.resources("full")
    files = 2 * (counts["train"] + counts["val"])  # pictures, and one front end
    hours = model.gpu_hours(variant.name, "avss")
    clips, shard = model.clips("avss", "train"), 1 / counts["train"]
    kept = sum(size for stage, size in model.data_bytes().items() if "originals" not in stage)
    # Straight through the two sizes that were measured.
    slope = (model["plan_10"] - model["plan_1"]) / 9
    readers = asked["mem_mb"] / TRAINING_PROCESSES
    found = [
        Limit("planning, *if shards grow*", slope, PLAN_SECONDS, "s", "DESIGN", "1, 4", model["plan_1"] - slope),
        Limit("files open in a training on AVSS, *if shards grow*", files, model["open_files"], "", "system", "1, 3"),
        *(
            Limit(
                f"memory of scoring {name.upper()}",
                model.frames(name, "test") * model[f"rows_memory_{model.kind(name)}"] / 1e6,
                *(SCORE_MB, "MB", "rule", "2", model["score_base"]),
            )
            for name in ("s4", "avss")
        ),
        Limit("time of scoring S4", model.score_seconds("s4") / 60, SCORE_MINUTES, "min", "rule", "2"),
        Limit(
            "training `tpavi-r50` on AVSS, estimate",
            hours["train"] + hours["validate"],
            *(asked["runtime"] / 60, "h", "card", "5"),
        ),
        Limit("local disk: release and shards", kept / 1e12, model["disk"], "TB", "assumed", "6, 7"),
        Limit("index in each process of a training", clips * model["index_memory"] / 1e6, readers, "MB", "card", "9"),
        Limit("index compared by content", clips * model["index_disk"] / 1e6, CHECKSUM_MB, "MB", "profile", "9"),
        Limit(
            "manifest compared by content", clips * shard * model["manifest"] / 1e6, CHECKSUM_MB, "MB", "profile", "1"
        ),
        Limit(
            "extracting a shard of AVSS",
            model.frames("avss", "train") * shard / model["extract_jpeg"] / 60,
            *(EXTRACT_MINUTES, "min", "rule", "1"),
        ),
    ]
    return sorted(found, key=lambda limit: limit.factor)


def limits_table(figures: dict) -> str:
    rows = [limit.line for limit in limits(figures)]
    return table(["what", "at 1×", "limit", "reached at", "plan"], rows)


def planning_table(figures: dict) -> str:
    plans = {factor: figures[f"plan_{factor}"] for factor in (1, 10, 100)}
    rows = [
        [f"{factor}×", f"{plan['jobs']:,}", f"{number(plan['value'])} s", f"{plan['mb']:,} MB"]
        for factor, plan in plans.items()
    ]
    return table(["shards", "jobs", "CPU", "memory"], rows)


TABLES = {
    "inputs": inputs_table,
    "disk": size_table,
    "cpu": cpu_table,
    "gpu": gpu_table,
    "limits": limits_table,
    "planning": planning_table,
}


def tables(figures: dict) -> dict[str, str]:
    return {name: make(figures) for name, make in TABLES.items()}


def read_figures(path: Path = FIGURES) -> dict:
    return yaml.safe_load(path.read_text())


def fill(page: str, found: dict[str, str]) -> str:
    """The page with each table between its marks, `<!-- name -->` and `<!-- /name -->`."""
    for name, text in found.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        page, count = re.subn(pattern, lambda match, text=text: match[1] + text + "\n" + match[2], page, flags=re.S)
        if count != 1:
            raise ValueError(f"the page has {count} places for the table {name!r}")
    return page


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=Path, default=FIGURES)
    parser.add_argument("--write", type=Path, help="page whose tables are replaced")
    arguments = parser.parse_args()
    found = tables(read_figures(arguments.figures))
    for name, text in found.items():
        print(f"{name}\n\n{text}\n")
    if arguments.write is not None:
        page = fill(arguments.write.read_text(), found)
        with atomic(arguments.write) as temporary:
            temporary.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
