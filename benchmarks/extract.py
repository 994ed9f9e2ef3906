"""Extraction: clips and megabytes a second from released files and from raw video, and what full AVSS would take.

    python -m benchmarks.extract --clips 24

Renders clips in the official layout and builds one shard of each source in this process, as a job of the workflow does.
Decoding and reading (decoding, resizing, looking up colours, sound) are timed once more alone, as shares of the whole;
the rest is writing and checking the shard. The last lines extrapolate to the 11,356 clips of AVSS: hours on one core,
and disk. Embedded AVSS files are 320 x 240; `--width` sets a larger size that they are tried at too.
"""

import argparse
import dataclasses
import shutil
import tempfile
import time
from pathlib import Path

import pandas as pd
from PIL import Image

from avsbench import cards, datasets
from avsbench.media.images import read_image
from avsbench.paths import Paths
from avsbench.store.extract import extract_shard
from avsbench.store.manifest import write_dataset_manifests

SIZE = 224


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--width", type=int, default=1280, help="width that AVSS frames are also tried at")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for source, name in (("PNG 224", "s4"), ("raw video", "s4"), ("JPEG 320 x 240", "avss")):
            paths, card = acquired(name, arguments.clips, f"{folder}/{source}")
            if source == "raw video":
                shutil.rmtree(Path(paths.official(name)) / "s4_data" / "visual_frames")
                shutil.rmtree(Path(paths.official(name)) / "s4_data" / "audio_wav")
            rows.append({"source": source} | extracted(paths, card))
        paths, card = acquired("avss", arguments.clips, f"{folder}/large")
        enlarge(Path(paths.official("avss")), arguments.width)
        rows.append({"source": f"JPEG, {arguments.width} wide"} | extracted(paths, card))
    print(pd.DataFrame(rows).to_markdown(index=False, floatfmt=".1f"))
    full = cards.dataset("avss").splits["full"]
    frames = frames_of_full_avss()
    for row in rows[2:]:
        hours = frames / row["frames/s"] / 3600
        work = f"{sum(full.values())} clips, {frames} frames"
        print(f"\nfull AVSS from {row['source']}: {work}: {hours:.1f} hours on one core")
    stored = frames * SIZE**2 * 4 / 1e9
    print(f"disk for its shards at {SIZE}: about {stored:.0f} GB of pictures and masks, and its sound as released")


def frames_of_full_avss() -> int:
    """10 frames for each of the 6000 v2 clips, 5 for the others (metadata of the release)."""
    return 6000 * 10 + (sum(cards.dataset("avss").splits["full"].values()) - 6000) * 5


def acquired(name: str, clips: int, folder: str) -> tuple[Paths, cards.DatasetCard]:
    counts = {"train": 3, "val": 3, "test": clips}
    card = dataclasses.replace(cards.dataset(name), splits={"mini": counts}, shards={"mini": dict.fromkeys(counts, 1)})
    paths = Paths("mini", data_root=folder)
    datasets.acquire(card, scale="mini", root=None, out=paths, workers=2)
    write_dataset_manifests(card, paths)
    return paths, card


def enlarge(root: Path, width: int) -> None:
    """Frames and masks of AVSS at another width."""
    for file in [*root.rglob("*.jpg"), *root.rglob("*.png")]:
        image = Image.open(file)
        size = (width, round(image.height * width / image.width))
        rule = Image.Resampling.BILINEAR if file.suffix == ".jpg" else Image.Resampling.NEAREST
        image.resize(size, rule).save(file, quality=92)


def extracted(paths: Paths, card: cards.DatasetCard) -> dict:
    """Rates of one shard of the test split, and the share of the time that decoding takes."""
    place = (card.name, "test", 0, 1)
    reader = datasets.reader(card, Path(paths.official(card.name)))
    table = reader.table().query("split == 'test'").to_dict("records")
    start = time.perf_counter()
    extract_shard(
        card=card,
        scale="mini",
        image_size=SIZE,
        reader=reader,
        manifest_path=paths.manifest(*place),
        out=paths.shard(*place),
        faults_out=paths.faults(*place),
        split="test",
        shard=0,
        shards=1,
    )
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    for row in table:
        reader.read(row, SIZE)
    reading = time.perf_counter() - start
    files = [file for row in table for file in used(reader.files(row))]
    start = time.perf_counter()
    for file in files:
        if file.suffix in (".png", ".jpg"):
            read_image(file)
    decoding = time.perf_counter() - start
    frames = sum(row["frames"] for row in table)
    read = sum(file.stat().st_size for file in files) / 1e6
    return {
        "clips/s": len(table) / seconds,
        "frames/s": frames / seconds,
        "MB/s read": read / seconds,
        "MB/s written": Path(paths.shard(*place)).stat().st_size / 1e6 / seconds,
        "decoding images %": 100 * decoding / seconds,
        "all reading %": 100 * reading / seconds,
    }


def used(files: datasets.ClipFiles) -> list[Path]:
    """The files of a clip that are there and that reading it opens."""
    frames = [file for file in files.frames if file.is_file()] or [files.video]
    sounds = [file for file in files.sounds if file.is_file()]
    return [*frames, *(file for file in files.masks if file is not None), *sounds]


if __name__ == "__main__":
    main()
