"""CPU seconds, memory and jobs of planning the full leaderboard at 1, 10 and 100 times the size of AVSBench.

    python -m benchmarks.planning [--factor 1 --factor 10] [--variants 20] [--limit 300]

In a copy of the project whose data-set cards have so many times the clips and the shards, `snakemake -n` plans the
leaderboard of S4, MS3 and AVSS at three seeds: 20 variants, as many as the suite is to have (copies of TPAVI's card
stand in), and once the variants of today. Data need not exist: nothing is released here, so every job is to be done.
The last line keeps the number of shards and makes them larger instead. Exits with 1 when 1x misses DESIGN's limits:
1,200 jobs, 5 s, 300 MiB.
"""

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from benchmarks.common import Row, Usage, copy_project, markdown, measured

DATASETS = ("s4", "ms3", "avss")
JOBS, SECONDS, MEBIBYTES = 1200, 5.0, 300
COMMAND = [sys.executable, "-m", "snakemake", "--cores", "8", "--resources", "gpu=2", "-n", "--quiet", "rules"]


def enlarge(project: Path, factor: int, shards: bool = True) -> None:
    """Give the data sets of a project copy `factor` times the clips, and the shards."""
    for name in DATASETS:
        file = project / "avsbench" / "datasets" / f"{name}.yaml"
        card = yaml.safe_load(file.read_text())
        for key in ("splits", "shards") if shards else ("splits",):
            card[key]["full"] = {split: factor * count for split, count in card[key]["full"].items()}
        file.write_text(yaml.safe_dump(card, sort_keys=False))


def add_variants(project: Path, count: int) -> list[str]:
    """`count` variants in a project copy, two a method, with the card and the network of TPAVI; their names."""
    card = yaml.safe_load((project / "models/tpavi/method.yaml").read_text())
    options = card["variants"]["tpavi-r50"]
    names = [f"many{number // 2}-{'pvt' if number % 2 else 'r50'}" for number in range(count)]
    for method in dict.fromkeys(name.split("-")[0] for name in names):
        folder = project / "models" / method
        shutil.copytree(project / "models/tpavi", folder)
        variants = {name: options for name in names if name.startswith(f"{method}-")}
        (folder / "method.yaml").write_text(yaml.safe_dump({**card, "name": method, "variants": variants}))
    return names


def configure(project: Path, runs: dict[str, list[str]]) -> None:
    """The full leaderboard at three seeds as the configuration of a project copy."""
    roots = {dataset: f"/released/{dataset}" for dataset in runs}
    config = {"scale": "full", "runs": runs, "seeds": [0, 1, 2], "roots": roots}
    (project / "config/config.yaml").write_text(yaml.safe_dump(config))


def plan(project: Path, environment: dict, seconds: float) -> tuple[Usage, dict[str, int]]:
    """What a dry run took, and rule -> number of jobs."""
    used = measured(COMMAND, project, environment, seconds)
    return used, {rule: int(count) for rule, count in re.findall(r"^(\w+)\s+(\d+)\s*$", used.output, flags=re.M)}


def measure(factor: int, *, variants: int = 20, shards: bool = True, seconds: float = 300) -> Row:
    """One line: 0 variants stand for those of the cards."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        environment = copy_project(project)
        enlarge(project, factor, shards)
        names = add_variants(project, variants)
        configure(project, {dataset: names or of_today(dataset) for dataset in DATASETS})
        what = f"{variants} variants" if variants else "the variants of today"
        case = f"{factor}× the clips{'' if shards else ' in as many shards as today'}, {what}"
        try:
            used, jobs = plan(project, environment, seconds)
        except RuntimeError as error:
            return Row("plan", case, None, note=" ".join(str(error).split())[-200:])
    limits = f"; limits {JOBS:,} jobs, {SECONDS:.0f} s, {MEBIBYTES} MiB" if factor == 1 else ""
    return Row("plan", case, used.cpu, "s CPU", used.mb, f"{jobs['total']:,} jobs{limits}")


def of_today(dataset: str) -> list[str]:
    from avsbench import cards

    return [name for name, variant in cards.variants().items() if dataset in variant.datasets]


def rows(quick: bool = False, factors: tuple[int, ...] = (1, 10, 100), seconds: float = 300) -> Iterator[Row]:
    """Today's variants at 1x, then 20 variants at every size."""
    yield measure(1, variants=0, seconds=seconds)
    for factor in factors[:2] if quick else factors:
        yield measure(factor, seconds=seconds)
    yield measure(factors[-1], shards=False, seconds=seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--factor", type=int, action="append", help="default: 1, 10 and 100")
    parser.add_argument("--variants", type=int, default=20)
    parser.add_argument("--limit", type=float, default=300, help="seconds after which a plan is given up")
    arguments = parser.parse_args()
    found = []
    for factor in arguments.factor or (1, 10, 100):
        found.append(measure(factor, variants=arguments.variants, seconds=arguments.limit))
        print(markdown(found[-1:]).splitlines()[-1], flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
