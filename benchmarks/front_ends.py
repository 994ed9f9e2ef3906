"""Clips a second: all front ends of a shard in one pass, against an in-process loop that computes them one by one.

    python -m benchmarks.front_ends --clips 64 --threads 2

Writes shards of noise with the sound that each data set has, then makes the files of all front ends in turn by

    loop     front end by front end, clip by clip: read the stored sound, compute, write the array
    job      what the workflow runs, which also reads its files back; on one thread and on `--threads`

Each rate is the best of several passes. Memory is the peak of a process that runs the job alone. Exits with 1 when the
job is less than 1.5 times as fast as the loop or takes 1.5 GiB.
"""

import argparse
import dataclasses
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from avsbench import cards
from avsbench.media.clip_sound import ClipSound
from avsbench.media.front_ends import FRONT_ENDS
from avsbench.media.sound import Sound
from avsbench.store.audio import audio_shard
from avsbench.store.shards import ArrayWriter, Header, ShardReader, ShardWriter

FASTER, MEBIBYTES = 1.5, 1536
MONO = tuple(name for name in FRONT_ENDS if "stereo" not in name)


@dataclasses.dataclass(frozen=True)
class Kind:
    """Sound as a data set has it: seconds, rate, channels, sources a clip, and the card whose rules apply."""

    title: str
    card: cards.DatasetCard
    seconds: int
    rate: int
    channels: int
    sources: int = 1
    front_ends: tuple[str, ...] = MONO


KINDS = [
    Kind("S4: 5 s, 16 kHz stereo", cards.dataset("s4"), 5, 16000, 2),
    Kind("AVSS: 10 s, 44.1 kHz stereo", cards.dataset("avss"), 10, 44100, 2),
    Kind(
        "VPO: 10 s, 44.1 kHz mono, 2 sources",
        dataclasses.replace(cards.dataset("s4"), name="vpo", frames=1),
        *(10, 44100, 1, 2),
        front_ends=tuple(FRONT_ENDS),
    ),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of is not None:
        job(KINDS[arguments.memory_of], arguments.folder, arguments.threads)
        return 0
    rows = []
    for number, kind in enumerate(KINDS):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(number, kind, Path(folder), arguments))
    table = pd.DataFrame(rows)
    print(table.to_markdown(index=False, floatfmt=".1f"))
    return int((table["job / loop"] < FASTER).any() or (table["job MiB"] >= MEBIBYTES).any())


def measure(number: int, kind: Kind, folder: Path, arguments: argparse.Namespace) -> dict:
    write_shard(kind, folder, arguments.clips)
    ways = {
        "loop": lambda: loop(kind, folder),
        "job, 1 thread": lambda: job(kind, folder, 1),
        "job": lambda: job(kind, folder, arguments.threads),
    }
    best = dict.fromkeys(ways, float("inf"))
    for round_ in range(arguments.passes + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if round_:  # the first round warms caches and tables up
                best[name] = min(best[name], time.perf_counter() - start)
    rates = {name: arguments.clips / seconds for name, seconds in best.items()}
    return {
        "shard": kind.title,
        "front ends": len(kind.front_ends),
        **{f"{name} clips/s": rate for name, rate in rates.items()},
        "job / loop": rates["job"] / rates["loop"],
        "job MiB": peak(number, folder, arguments.threads),
    }


def write_shard(kind: Kind, folder: Path, clips: int) -> None:
    """A shard of clips with noise for sound and next to no pictures."""
    dice = np.random.default_rng(0)
    header = Header(dataset=kind.card.name, scale="full", split="test", shard=0, shards=1, image_size=8)
    frames = min(kind.seconds, kind.card.frames)
    with ShardWriter(folder / "clips.h5", header) as shard:
        for position in range(clips):
            samples = dice.integers(-9999, 9999, (kind.sources, kind.seconds * kind.rate, kind.channels), np.int16)
            shard.add(
                f"clip{position}",
                frames=np.zeros((frames, 8, 8, 3), np.uint8),
                masks=np.zeros((frames, 8, 8), np.uint8),
                annotated=np.ones(frames, bool),
                sounds=[Sound(wave, kind.rate, position=k / kind.sources) for k, wave in enumerate(samples)],
                position=position,
            )


def loop(kind: Kind, folder: Path) -> None:
    """Front end by front end, each from the stored sound."""
    with ShardReader(folder / "clips.h5") as shard:
        for name in kind.front_ends:
            header = dataclasses.replace(shard.header, content=name)
            with ArrayWriter(folder / f"loop.{name}.h5", header) as writer:
                for clip_id in shard.clip_ids():
                    clip = ClipSound.of(kind.card, shard.sounds(clip_id), shard.row(clip_id)["frames"])
                    writer.add(clip_id, FRONT_ENDS[name].compute(clip))


def job(kind: Kind, folder: Path, threads: int) -> None:
    """All front ends in one pass, as the rule `audio` does it."""
    outs = {name: folder / f"job.{name}.h5" for name in kind.front_ends}
    audio_shard(card=kind.card, shard_path=folder / "clips.h5", outs=outs, threads=threads)


def peak(number: int, folder: Path, threads: int) -> float:
    """Peak memory of a process that runs the job alone, in MiB."""
    place = ["--memory-of", str(number), "--folder", str(folder), "--threads", str(threads)]
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stderr=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, sys.executable, __file__, *place], capture_output=True, text=True, check=True
    )
    return int(done.stdout) / 1024


if __name__ == "__main__":
    sys.exit(main())
