"""Data of pages made up for tests: what `avsbench.report.web.payload` gives, of any size, from a seed."""

import random
from pathlib import Path

from avsbench.report.web.page import render

METRICS = {
    "miou": ("A", "higher"), "f_at_0.5": ("A", "higher"), "empty_share": ("A", "none"), "fscore_b1": ("B", "higher"),
    "fscore_b4": ("B", "higher"), "dataset_miou": ("D", "higher"), "dataset_fdr": ("D", "lower"),
    "fpr": ("robust", "lower"), "g_miou": ("robust", "higher"), "g_f": ("robust", "higher"),
    "g_fpr": ("robust", "lower"),
}  # fmt: skip
PROTOCOLS = [
    {"name": "A", "title": "mean over frames", "ranks_by": "miou", "metrics": ["miou", "f_at_0.5", "empty_share"]},
    {"name": "B", "title": "best threshold a call", "ranks_by": "fscore_b1", "metrics": ["fscore_b1", "fscore_b4"]},
    {"name": "D", "title": "all pixels", "ranks_by": "dataset_miou", "metrics": ["dataset_miou", "dataset_fdr"]},
]
BADGES = ("official", "ensemble", "external", "zero-shot", "hard", "incomplete", "stand-in")
KINDS = {3: "official", 5: "ensemble", 7: "external", 8: "zero-shot", 9: "zero-shot", 11: "incomplete"}
"""Row -> what sets it apart."""


def show(page, folder: Path, data: dict, choices: str = "") -> None:
    """Open the page of a board; `choices` are what the address says after #."""
    file = folder / "leaderboard.html"
    file.write_text(render("Leaderboard · mini", data, "leaderboard.md"), encoding="utf-8")
    page.goto(f"{file.resolve().as_uri()}#{choices}")
    page.wait_for_selector("html[data-ready]")


def board(rows: int = 10, datasets: int = 2, seeds: int = 3, **changes) -> dict:
    """A page's data; `changes` are laid over it."""
    found = [dataset(f"set{n}", rows, seeds, random.Random(n)) for n in range(datasets)]
    data = {
        "scale": "mini", "planned": rows * seeds * datasets + 3, "complete": rows * seeds * datasets,
        "problems": "1 failed, 1 not run, 1 skipped", "first_failure": "", "partial": False,
        "notes": ["Scale `mini` is a diagnostic.", "Scores are percent."],
        "metrics": {
            name: {"label": name, "protocol": protocol, "unit": "%", "direction": direction, "title": f"what {name} is",
                   "help": f"`{name}` (protocol {protocol}, percent): what {name} is."}
            for name, (protocol, direction) in METRICS.items()
        },
        "badges": {badge: f"What {badge} means." for badge in BADGES}, "datasets": found,
        "robustness": heard(found[0]) if found else None, "other_sets": {"AVS-V3": 32},
    }  # fmt: skip
    return data | changes


def dataset(name: str, rows: int, seeds: int, chance: random.Random) -> dict:
    made = [row(name, i, seeds, chance) for i in range(rows)]
    for protocol in PROTOCOLS:
        for setting in ("supervised", "zero-shot"):
            ranked = [
                r for r in made if r["setting"] == setting and not ("hard" in r["badges"] and protocol["name"] == "B")
            ]
            ranked.sort(key=lambda r: -r["grids"]["common"][protocol["ranks_by"]]["mean"])
            for place, each in enumerate(ranked, 1):
                each["places"][protocol["name"]] = place
    made.sort(key=lambda r: (r["setting"] != "supervised", r["places"]["A"]))
    printed = {
        "method": "TPAVI", "venue": "ECCV", "year": "2022", "backbone": "ResNet-50", "pretrained": "", "size": "224",
        "setting": "supervised", "protocol": "A", "metric": "mIoU", "ours": "miou", "published": "72.79",
        "source": "arXiv 2207.05042", "url": "https://arxiv.org/abs/2207.05042", "note": "table 3", "variant": None,
        "measured": None, "gap": None,
    }  # fmt: skip
    return {
        "name": name, "title": f"A made-up data set ({name.upper()}) · mini", "about": ["Test split.", "Made up."],
        "task": "binary", "family": "avsbench", "protocols": PROTOCOLS, "rows": made,
        "settings": [{"name": "supervised", "title": ""}, {"name": "zero-shot", "title": "Zero-shot"}],
        "absent": [
            {"name": "lost-r50", "seed": "1", "setting": "supervised", "status": status,
             "reason": f"{status}: a reason", "log": log}
            for status, log in (("failed", "mini/log.txt"), ("not run", None), ("skipped", None))
        ],
        "cost_notes": ["Parameters include frozen encoders.", "Mean over seeds."],
        "pairs": {protocol["ranks_by"]: pairs(made, protocol["ranks_by"]) for protocol in PROTOCOLS},
        "published": [
            printed, printed | {"metric": "F", "protocol": "B", "published": "84.80"},
            printed | {"variant": "row-0", "measured": 71.5, "gap": -1.29},
            printed | {"metric": "mIoU", "protocol": "D", "published": "89.43"},
        ],
        "unknown": [printed | {"method": "AV-SAM", "protocol": "?", "ours": None, "published": "40.47", "url": None}],
    }  # fmt: skip


def row(dataset: str, i: int, seeds: int, chance: random.Random) -> dict:
    kind = KINDS.get(i)
    external, level = kind == "external", 40 + 40 * chance.random()
    names = [str(seed) for seed in range(1 if external else seeds)]
    common = {name: score(level + chance.gauss(0, 6), len(names), chance) for name in METRICS}
    return {
        "id": f"{dataset}/row-{i}", "name": f"row-{i}", "method": f"method_{i % 5}",
        "title": f"Method {i % 5}: a network",
        "paper": "A paper (Somebody et al., ECCV 2022)", "url": "https://arxiv.org/abs/2207.05042", "source": None,
        "year": 2022, "setting": "zero-shot" if kind == "zero-shot" else "supervised",
        "badges": [kind] * (kind is not None) + ["hard"] * (i == 8) + ["stand-in"], "masks": "", "init": "imagenet",
        "selection": "val", "seeds": [] if external else names, "planned": len(names), "clips": 60 if i == 11 else 64,
        "expected": 64, "places": {protocol["name"]: None for protocol in PROTOCOLS},
        "grids": {"common": common} | ({"512": {"miou": common["miou"]}} if i == 1 else {}),
        "cost": None if external else {
            "parameters": int(10 ** chance.uniform(6, 8)), "trainable": int(10 ** chance.uniform(5, 6)),
            "gflops_per_frame": round(10 ** chance.uniform(0, 2), 2),
            "frames_per_second": round(chance.uniform(5, 300), 1),
            "memory_mb": round(chance.uniform(800, 9000)), "train_minutes": round(chance.uniform(1, 600), 1),
            "device": "a processor",
        },
        "notes": ["Saw `maskige` of another generator."] if i == 2 else [],
        "runs": [run(dataset, i, seed, kind is None, chance) for seed in names],
    }  # fmt: skip


def score(mean: float, seeds: int, chance: random.Random) -> dict:
    each = [round(mean + chance.gauss(0, 1), 2) for _ in range(seeds)]
    mean = round(sum(each) / seeds, 2)
    return {"mean": mean, "spread": 0.71 if seeds > 1 else None, "low": round(mean - 3, 2), "high": round(mean + 3, 2),
            "each": each}  # fmt: skip


def run(dataset: str, i: int, seed: str, trained: bool, chance: random.Random) -> dict:
    folder, epochs = f"mini/{dataset}/row-{i}/{seed}", list(range(1, 61))
    curve = {
        "epochs": epochs, "loss": [round(1 / (1 + epoch / 8) + 0.02 * chance.random(), 4) for epoch in epochs],
        "score": [None if epoch % 4 else round(60 - 50 / epoch + chance.random(), 2) for epoch in epochs],
        "metric": "miou", "best": 56,
    }  # fmt: skip
    return {"seed": seed, "code": "0123456789abcdef", "finished": "2026-01-02T03:04:05+00:00", "device": "a processor",
            "record": f"{folder}/run.json", "frames": f"{folder}/frames.parquet", "log": f"{folder}/log.jsonl",
            "curve": curve if trained else None, "explorer": f"{folder}/explorer/index.html"}  # fmt: skip


def pairs(rows: list[dict], metric: str) -> list[list]:
    found = []
    for i, a in enumerate(rows):
        for j, b in enumerate(rows[i + 1 :], i + 1):
            if "incomplete" not in a["badges"] + b["badges"]:
                gap = a["grids"]["common"][metric]["mean"] - b["grids"]["common"][metric]["mean"]
                found.append([i, j, round(gap - 4, 2), round(gap + 4, 2)])
    return found


def heard(dataset: dict) -> dict:
    names, conditions = ("fpr", "miou"), ["silence", "noise", "offscreen"]
    rows = [
        {"id": r["id"], "name": r["name"], "seeds": r["seeds"], "clips": "64 of 64",
         "own": {name: r["grids"]["common"][name] for name in names},
         "all": {name: r["grids"]["common"][name] for name in ("g_miou", "g_f", "g_fpr")},
         "conditions": {c: {n: r["grids"]["common"][n] for n in names} for c in conditions}}
        for r in dataset["rows"][:4]
    ]  # fmt: skip
    return {
        "title": "Does it listen? · mini", "about": ["Every clip gets a sound that does not belong to it."],
        "metrics": ["g_miou", "g_f", "g_fpr", *names],
        "missing": [{"name": "row-9", "dataset": dataset["name"], "conditions": conditions, "reason": "sees heatmap"}],
        "datasets": [{"name": dataset["name"], "title": dataset["title"], "published": [],
                      "kinds": [{"kind": "", "conditions": conditions, "rows": rows}]}],
    }  # fmt: skip
