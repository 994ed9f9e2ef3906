"""The tables of an exported folder: rebuilt from the index, or for VPO, whose index lacks names of sounds, copied."""

import csv
import io
import json
import re
from pathlib import Path

import pandas as pd

from avsbench.atomic import atomic
from avsbench.cards import DatasetCard
from avsbench.datasets.vpo_build.layout import Kind
from avsbench.errors import AvsbenchError


def write_tables(card: DatasetCard, out: Path, indices: dict[str, pd.DataFrame], official: Path) -> None:
    """Write the table (and for AVSS `label2idx.json`, values from 1) of the clips in `indices`.

    Args:
        official: the layout that the shards were made from; needed for VPO only.
    """
    rows = [{**row, "split": split} for split, index in indices.items() for row in index.to_dict("records")]
    if card.name == "s4":
        cells = [(row["clip_id"], start_second(row["clip_id"]), row["category"], row["split"]) for row in rows]
        _write(out / "s4_meta_data.csv", ("name", "start", "category", "split"), cells)
    elif card.name == "ms3":
        # AVSBench reads the first column whatever its name; NTAVS reads it by this one.
        _write(out / "ms3_meta_data.csv", ("video_id", "split"), [(row["clip_id"], row["split"]) for row in rows])
    elif card.name == "avss":
        header = ("vid", "uid", "s_min", "s_sec", "a_obj", "split", "label")
        _write(out / "metadata.csv", header, [_semantic(row) for row in rows])
        values = {name: index for index, name in enumerate(card.classes, start=1)}
        _replace(out / "label2idx.json", json.dumps(values))
        for part in ("v1s", "v1m", "v2"):
            (out / part).mkdir(exist_ok=True)
    else:
        place = Kind.of(card.name).csv
        if not (official / place).is_file():
            raise AvsbenchError(f"{official / place}: no such table", hint="`avsbench acquire` finds it")
        _replace(out / place, (official / place).read_text())


def start_second(clip_id: str) -> int:
    """Second of the video at which a clip `<video>_<start ms>_<end ms>` begins; 0 where the name does not say."""
    match = re.search(r"_(\d+)_\d+$", clip_id)
    return int(match[1]) // 1000 if match else 0


def _semantic(row: dict) -> tuple:
    uid, part = row["clip_id"], row["part"]
    video, start = (uid, 0) if part == "v1m" else (re.sub(r"_\d+_\d+$", "", uid), start_second(uid))
    return video, uid, start // 60, start % 60, row["category"], row["split"], part


def _write(path: Path, header: tuple, rows: list[tuple]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    _replace(path, text.getvalue())


def _replace(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text)
