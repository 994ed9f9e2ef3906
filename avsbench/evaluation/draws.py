"""The draws of a run, kept beside its scores: every metric on the same 2000 draws of the test clips.

Two runs scored on the same clips have the same draws (`resample.draws` has one seed), so that the difference of two
columns, draw by draw, is the paired bootstrap of their difference. A column a metric, a row a draw, float32; NaN where
a draw has no value. The schema's metadata hold the digest of the list of clips.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from avsbench.atomic import atomic
from avsbench.errors import AvsbenchError
from avsbench.evaluation.resample import ClipSums, draws, interval

METADATA = b"avsbench-draws"
FORMAT, VERSION = "avsbench-draws", 1


@dataclass(frozen=True)
class Draws:
    """What a file of draws holds.

    Attributes:
        clips: digest of the list of clips; only draws of equal ones are paired.
        values: metric -> float32 [draws]; NaN where a draw has no value.
    """

    clips: str
    values: dict[str, np.ndarray]


def write_draws(file: str | os.PathLike, sums: ClipSums) -> dict[str, tuple[float, float]]:
    """Draw the clips anew and store every metric of every draw; returns metric -> ends of its interval."""
    drawn = sums.values(draws(len(sums.clips)))
    names = dict.fromkeys(name for values in drawn for name in values)
    columns = {name: np.array([values.get(name, np.nan) for values in drawn]) for name in names}
    about = {"format": FORMAT, "version": VERSION, "clips": clips_digest(sums.clips), "count": len(sums.clips)}
    schema = pa.schema([(name, pa.float32()) for name in columns], {METADATA: json.dumps(about).encode()})
    with atomic(file) as temporary:
        table = pa.table({name: column.astype(np.float32) for name, column in columns.items()}, schema)
        pq.write_table(table, temporary, compression="zstd", use_dictionary=False)  # hardly a number occurs twice
    return {name: interval(column) for name, column in columns.items()}


def read_draws(file: str | os.PathLike) -> Draws:
    """Raises AvsbenchError for a file that holds no draws of this suite."""
    try:
        with pq.ParquetFile(file) as opened:  # a third of the time of `read_table`: a board has many small ones
            table = opened.read(use_threads=False)
    except (OSError, pa.ArrowInvalid) as error:
        raise AvsbenchError(f"{file}: unreadable draws", found=error, hint="score the run again") from None
    about = json.loads((table.schema.metadata or {}).get(METADATA, b"{}"))
    found = about.get("format"), about.get("version")
    if found != (FORMAT, VERSION):
        raise AvsbenchError(f"{file}: not the draws of a run", found=found, expected=(FORMAT, VERSION))
    return Draws(about["clips"], {name: table.column(name).to_numpy() for name in table.column_names})


def clips_digest(clips: Sequence[str]) -> str:
    """16 hex digits of clip ids in their order."""
    return hashlib.sha256("\n".join(clips).encode()).hexdigest()[:16]
