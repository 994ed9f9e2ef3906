"""The rule `native`: the clips of one manifest -> a shard of their original pictures, where a method asks for these.

Such a shard stands beside those of clips and not in them: a method that asks for originals must not rerun the others.
"""

import logging
from pathlib import Path

from tqdm import tqdm

from avsbench.atomic import atomic
from avsbench.cards import DatasetCard
from avsbench.datasets.clip import ClipFault, Originals, Reader
from avsbench.errors import AvsbenchError
from avsbench.media.images import decode_image
from avsbench.store.files import Header
from avsbench.store.manifest import read_manifest
from avsbench.store.originals import NATIVE, NativeReader, NativeWriter

_LOG = logging.getLogger(__name__)


def native_shard(
    *,
    card: DatasetCard,
    scale: str,
    reader: Reader,
    manifest_path: str | Path,
    out: str | Path,
    split: str,
    shard: int,
    shards: int,
) -> None:
    """Write the original pictures of a manifest's clips; a clip that cannot be read is left out with a warning.

    The list of faults of the rule `extract` is what decides about such a clip: it is not in the index either.

    Args:
        card: the data-set card.
        scale: mini, smoke or full.
        reader: gives the `Originals` of a row.
        manifest_path: the clips to read.
        out: the shard. Written beside its place, opened and checked, then renamed.
        split, shard, shards: what the manifest is for.
    """
    rows = read_manifest(manifest_path).to_dict("records")
    header = Header(
        dataset=card.name, scale=scale, split=split, shard=shard, shards=shards, image_size=0, content=NATIVE
    )
    written: list[str] = []
    with atomic(out) as temporary:
        with NativeWriter(temporary, header) as writer:
            for row in tqdm(rows, desc=f"native {card.name} {split} {shard}", unit="clip", disable=None):
                try:
                    originals = reader.originals({**row, "split": split})
                    _check(row["clip_id"], originals)
                except AvsbenchError as error:
                    _LOG.warning("%s %s: left out: %s", card.name, split, error)
                    continue
                writer.add(row["clip_id"], frames=originals.frames, masks=originals.masks)
                written.append(row["clip_id"])
        with NativeReader(temporary, dataset=card.name, split=split) as stored:
            if stored.clip_ids() != sorted(written):
                raise AvsbenchError(
                    f"{out}: not the clips that were written", found=f"{len(stored)} clips", expected=len(written)
                )
    _LOG.info("%s: %d of %d clips", out, len(written), len(rows))


def _check(clip_id: str, originals: Originals) -> None:
    """Every frame opens, and frames and masks have one size."""
    sizes = [decode_image(data, f"frame {n} of clip {clip_id}").shape[:2] for n, data in enumerate(originals.frames)]
    sizes += [mask.shape for mask in originals.masks]
    if len(set(sizes)) != 1:
        found = sorted({f"{width} x {height}" for height, width in sizes})
        raise ClipFault(
            clip_id, "original frames and masks differ in size", found=", ".join(found), expected="one size"
        )
