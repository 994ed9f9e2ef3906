"""Does sound decide on mini MS3? TPAVI with its sound, with silence, with another clip's sound; trained without sound.

    python -m benchmarks.sound_decides --variant tpavi-r50 --seeds 0 1 2

Silence and swaps are data roots of their own whose front-end shards are rewritten and whose other files are links;
everything runs through the ordinary verbs. The bar: each of the three stays at least 10 points of mIoU on non-empty
frames below.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

from avsbench import cards
from avsbench.evaluation.score import read_scores
from avsbench.media.clip_sound import ClipSound
from avsbench.media.front_ends import FRONT_ENDS
from avsbench.media.sound import Sound
from avsbench.paths import Paths

METRIC = "miou_nonempty"


def silent(name: str, card: cards.DatasetCard) -> np.ndarray:
    """The front end of digital silence, [T,…]."""
    nothing = Sound(
        samples=np.zeros((16000 * 5, 1), np.int16), rate=16000, subtype="PCM_16", category="", position=None
    )
    return FRONT_ENDS[name].compute(ClipSound.of(card, [nothing], card.frames))


def other_data(paths: Paths, dataset: str, front_end: str, target: Path, kind: str) -> str:
    """A data root like `paths.data_root` whose sound is silent or belongs to the next clip of the same shard."""
    source = Path(paths.dataset(dataset))
    copy = target / paths.scale / dataset
    copy.mkdir(parents=True)
    for entry in source.iterdir():
        if entry.name != "audio":
            (copy / entry.name).symlink_to(entry.resolve())
    shutil.copytree(source / "audio", copy / "audio")
    nothing = silent(front_end, cards.dataset(dataset))
    for file in (copy / "audio" / front_end).glob("*.h5"):
        with h5py.File(file, "r+") as shard:
            clips = list(shard)
            arrays = {clip: shard[clip][...] for clip in clips}
            for clip, following in zip(clips, clips[1:] + clips[:1], strict=True):
                shard[clip][...] = nothing[: len(arrays[clip])] if kind == "silence" else arrays[following]
    return str(target)


def verb(name: str, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "avsbench.cli", name, *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"avsbench {name} {' '.join(arguments)}\n{done.stdout}{done.stderr}")


def measure(dataset: str, variant: str, seed: str, data: str, results: str, train: bool) -> dict:
    """Train (if asked), predict and score one run in the folders given; returns its scores on the common grid."""
    run = ["--dataset", dataset, "--variant", variant, "--seed", seed]
    place = ["--scale", "mini", "--data-root", data, "--results-root", results]
    if train:
        verb("train", *run, *place)
    verb("predict", *run, *place)
    verb("score", *run, *place)
    return read_scores(Paths("mini", data, results).scores(dataset, variant, seed))["values"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="ms3")
    parser.add_argument("--variant", default="tpavi-r50")
    parser.add_argument("--seeds", nargs="+", default=["0", "1", "2"])
    arguments = parser.parse_args()
    paths = Paths("mini")
    front_end = cards.variant(arguments.variant).front_ends_on(arguments.dataset)[0]
    runs = [paths.scores(arguments.dataset, arguments.variant, seed) for seed in arguments.seeds]
    command = [sys.executable, "-m", "snakemake", "--cores", str(os.cpu_count()), "--quiet", "all", "--", *runs]
    subprocess.run(command, check=True)

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        data = {
            kind: other_data(paths, arguments.dataset, front_end, here / kind, kind) for kind in ("silence", "swapped")
        }
        for seed in arguments.seeds:
            trained = Path(paths.run(arguments.dataset, arguments.variant, seed))
            row = {"with sound": read_scores(paths.scores(arguments.dataset, arguments.variant, seed))["values"]}
            for kind in data:
                results = here / f"results-{kind}"
                copy = Path(Paths("mini", results_root=str(results)).run(arguments.dataset, arguments.variant, seed))
                copy.mkdir(parents=True)
                for file in ("weights.safetensors", "run.json"):
                    shutil.copy(trained / file, copy / file)
                row[kind] = measure(arguments.dataset, arguments.variant, seed, data[kind], str(results), train=False)
            row["video only"] = measure(
                arguments.dataset, arguments.variant, seed, data["silence"], str(here / "results-deaf"), train=True
            )
            rows.append({kind: 100 * scores[METRIC] for kind, scores in row.items()})
            print(f"seed {seed}: " + ", ".join(f"{kind} {value:.1f}" for kind, value in rows[-1].items()), flush=True)

    kinds = list(rows[0])
    print(f"\n{METRIC} (%), mini {arguments.dataset}, {arguments.variant}, seeds {', '.join(arguments.seeds)}\n")
    print("| condition | mean | seeds | drop |\n|---|---|---|---|")
    top = np.mean([row["with sound"] for row in rows])
    for kind in kinds:
        values = [row[kind] for row in rows]
        mean, each = np.mean(values), ", ".join(f"{value:.1f}" for value in values)
        print(f"| {kind} | {mean:.1f} | {each} | {top - mean:.1f} |")


if __name__ == "__main__":
    main()
