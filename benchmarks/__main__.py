"""All benchmarks, one table.

    python -m benchmarks [--only loader --only step] [--quick] [--output table.md]

Topics run one after the other and show their lines as they come. What cannot run says why in its line; the exit code is
1 when something failed that should have run. A whole call takes half an hour on two cores, most of it training steps
and compilation; --quick, ten minutes with fewer rounds, sizes and variants.
"""

import argparse
import dataclasses
import json
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm import tqdm

from avsbench.atomic import atomic
from benchmarks import (
    avsegformer_step,
    deformable_attention,
    etavs_step,
    evaluation,
    growth,
    loader,
    matching,
    mini,
    planning,
    report,
    semantic_sam,
    tpavi_attention,
    training_step,
)
from benchmarks.common import Row, heading, markdown

TOPICS: dict[str, Callable[..., Iterator[Row]]] = {
    "loader": loader.rows,
    "attention": tpavi_attention.rows,
    "deformable": deformable_attention.rows,
    "avsegformer": avsegformer_step.rows,
    "etavs": etavs_step.rows,
    "matching": matching.rows,
    "semantic_sam": semantic_sam.rows,
    "step": training_step.rows,
    "evaluation": evaluation.rows,
    "growth": growth.rows,
    "planning": planning.rows,
    "report": report.rows,
    "mini": mini.rows,
}


def collect(topics: dict[str, Callable[..., Iterator[Row]]], quick: bool) -> tuple[list[Row], bool]:
    """The lines of every topic, and whether all of them came; a topic that fails leaves a line that says why."""
    found, complete = [], True
    with tqdm(topics.items(), unit="topic", disable=None) as bar:
        for name, rows in bar:
            bar.set_description(name)
            try:
                for row in rows(quick=quick):
                    found.append(row)
                    tqdm.write(markdown([row]).splitlines()[-1], file=sys.stderr)
            except Exception as error:  # the other topics are still worth having
                complete = False
                traceback.print_exc()
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                found.append(Row(name, "stopped", None, note=reason[:300].replace("|", "/")))
    return found, complete


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=list(TOPICS), help="this topic; may be repeated")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, sizes and variants")
    parser.add_argument("--output", type=Path, help="also write the table: .md, or .json for machines")
    options = parser.parse_args(arguments)
    about = heading()
    rows, complete = collect({name: TOPICS[name] for name in options.only or TOPICS}, options.quick)
    text = f"{about}\n\n{markdown(rows)}\n"
    print(text)
    if options.output is not None:
        if options.output.suffix == ".json":
            text = json.dumps({"about": about, "rows": [dataclasses.asdict(row) for row in rows]}, indent=1) + "\n"
        with atomic(options.output) as temporary:
            temporary.write_text(text)
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
