"""Finished runs made up for the tests of avsbench.report: run.json and scores as the stages write them."""

import json
from pathlib import Path

from avsbench import cards
from avsbench.evaluation.score import FORMAT, VERSION
from avsbench.paths import Paths
from avsbench.plan import Run

BINARY = {
    "miou": 0.5, "miou_nonempty": 0.4, "miou_empty": 0.9, "empty_share": 0.2, "f_at_0.5": 0.6, "fscore_b1": 0.7,
    "fscore_b4": 0.65, "fscore_valid": 0.72, "fscore_all": 0.6, "dataset_miou": 0.8, "dataset_f": 0.85,
    "pixel_accuracy": 0.9,
}  # fmt: skip
SEMANTIC = {
    "miou_avss": 0.05, "miou_avss_present": 0.4, "miou_avss_ceiling": 0.14, "f_avss": 0.06, "f_avss_present": 0.45,
    "miou_avss_real": 0.05, "miou_avss_fg": 0.04, "dataset_miou": 0.03, "dataset_miou_present": None,
}  # fmt: skip


def make_run(paths: Paths, run: Run, *, values: dict | None = None, clips: int | None = None, **record) -> None:
    """Write run.json and scores of a run (or of its ensemble); `values` and `record` are laid over plausible ones."""
    card, variant = cards.dataset(run.dataset), cards.variant(run.variant)
    expected = card.splits[paths.scale]["test"]
    names = (run.dataset, run.variant, run.seed)
    content = {
        "variant": run.variant, "method": variant.method.name, "dataset": run.dataset, "scale": paths.scale,
        "seed": run.seed, "image_size": 64, "init": variant.init, "code": "0123456789abcdef", "versions": {},
        "device": {"type": "cpu", "name": "a processor", "visible": None}, "finished": "2026-01-02T03:04:05+00:00",
        "parameters": {"total": 2_500_000, "trainable": 1_500_000, "external": 1_000_000},
        "encoders": {role: {"name": name} for role, name in variant.encoders_on(run.dataset).items()},
    }  # fmt: skip
    if run.seed.isdigit():
        content |= {
            "selection": {"split": "val", "metric": "miou"},
            "seconds": {"train": 90.0, "wait": 1.0, "validation": 30.0},
            "peak_memory_mb": {"rss": 812.3},
        }
    write(paths.run_json(*names), content | record)
    base = BINARY if card.task == "binary" else SEMANTIC
    row = {
        "grid": "common", "hard": False, "size": [64, 64], "clips": expected if clips is None else clips,
        "frames": 5 * expected, "members": run.members, "values": {**base, **(values or {})},
    }  # fmt: skip
    write(paths.scores(*names, ensemble=run.ensemble), {"format": FORMAT, "version": VERSION, "scores": [row]})


def write(path: str, content: object) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(content if isinstance(content, str) else json.dumps(content))


def paths_in(folder: Path, scale: str = "mini") -> Paths:
    return Paths(scale, data_root=f"{folder}/data", results_root=f"{folder}/results", weights_root=f"{folder}/weights")


def row_of(text: str, name: str) -> list[str]:
    """Cells of the first table row that has `name` in its first two cells."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and name in cells[:2]:
            return cells
    raise AssertionError(f"no row of {name} in\n{text}")
