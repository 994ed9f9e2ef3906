"""The two tables beside the shards and their readers: the index of a split, and the faults of a shard."""

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from avsbench.errors import AvsbenchError
from avsbench.store.shards import REBUILD

FAULT, NOTE = "fault", "note"
FAULT_COLUMNS = ["clip_id", "kind", "text", "file"]
INDEX = pa.schema(
    [
        ("clip_id", pa.string()),
        ("position", pa.int32()),
        ("shard", pa.int32()),
        ("frames", pa.int32()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("category", pa.string()),
        ("part", pa.string()),
        ("annotated", pa.list_(pa.bool_())),
    ]
)
_KEY = b"avsbench"


def write_index(path: str | Path, rows: list[dict], about: dict) -> None:
    """Write `rows` (one a clip, the columns of INDEX); `about` goes into the file's metadata."""
    schema = INDEX.with_metadata({_KEY: json.dumps(about).encode()})
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def read_index(path: str | Path) -> pd.DataFrame:
    """The index of a split: a row per clip, in csv order, with the columns of INDEX (`annotated`: arrays of bool).

    `.attrs` of the table holds dataset, scale, split, shards and image_size.
    """
    path = Path(path)
    if not path.is_file():
        raise AvsbenchError(f"{path}: no such index", hint="`avsbench index` writes it")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise AvsbenchError(
            f"{path}: the index is truncated or damaged", found=str(error).splitlines()[0], hint=REBUILD
        ) from None
    about = (table.schema.metadata or {}).get(_KEY)
    if about is None or table.schema.names != INDEX.names:
        raise AvsbenchError(
            f"{path}: not an index of this version",
            found=", ".join(table.schema.names),
            expected=", ".join(INDEX.names),
            hint=REBUILD,
        )
    frame = table.to_pandas()
    frame.attrs.update(json.loads(about))
    return frame


def read_faults(path: str | Path) -> pd.DataFrame:
    """What was wrong with the clips of one shard: clip_id, kind, text, file.

    A clip of kind "fault" is not in the shard; one of kind "note" is, and something about it is odd.
    """
    path = Path(path)
    if not path.is_file():
        raise AvsbenchError(f"{path}: no such list of faults", hint="`avsbench extract` writes it")
    return pd.read_csv(path, dtype=str, keep_default_na=False)
