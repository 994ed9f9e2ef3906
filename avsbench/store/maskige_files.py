"""The generator `files`: maskiges or masks that somebody else made, found by the names of the published scripts.

Of each frame the first that exists, below the root or below `AVSBench_object/<family>/` in it:

    maskiges  s4_data|ms3_data/pre_SAM_mask/…/<frame>_mask_color.png          palette or RGB
              [pre_SAM_mask/]AVSBench_semantic/<part>/<clip>/processed_frames|frames/<frame>_mask_color.png
    masks     s4_data|ms3_data/visual_frames/…/<frame>_mask.npy               bool [N,H,W]
              [pre_SAM_mask/]AVSBench_semantic/<part>/<clip>/processed_frames|frames/<frame>_mask.npy

So the authors' download, and what each of their scripts writes, is taken as it is.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from avsbench.cards import DatasetCard
from avsbench.datasets import reader as reader_of
from avsbench.errors import AvsbenchError
from avsbench.features import maskige
from avsbench.media.images import resize_mask
from avsbench.store.exchange import layout
from avsbench.store.shards import ShardReader

FAMILIES = {"s4": "Single-source", "ms3": "Multi-sources"}
_LISTED = 20


def read_clips(
    card: DatasetCard, shard: ShardReader, root: Path, size: int | None
) -> Iterator[tuple[str, np.ndarray, list]]:
    """(clip id, indices uint8 [T,S,S], no proposals) of every clip of a shard; all files are looked for first.

    Raises:
        AvsbenchError: no such folder, a data set without published maskiges, files missing (listed) or damaged.
    """
    if not root.is_dir() or str(root) == ".":
        raise AvsbenchError(
            f"features.maskige.options.root: {root} is no folder",
            expected="the folder of the downloaded maskiges",
            hint="name it in the configuration: features: {maskige: {generator: files, options: {root: …}}}",
        )
    places = reader_of(card, root)
    found: dict[str, list[Path]] = {}
    missing: list[str] = []
    for clip_id in shard.clip_ids():
        frames = places.places({**shard.row(clip_id), "split": shard.header.split}).frames
        options = [candidates(card, root, frame) for frame in frames]
        found[clip_id] = [next((file for file in files if file.is_file()), None) for files in options]
        missing += [
            f"{clip_id}: {files[0]}" for file, files in zip(found[clip_id], options, strict=True) if file is None
        ]
    if missing:
        more = [f"… and {len(missing) - _LISTED} more"] if len(missing) > _LISTED else []
        raise AvsbenchError(
            f"{root}: {len(missing)} frames of {card.name} {shard.header.split} have no maskige",
            found="\n    ".join(["", *missing[:_LISTED], *more]),
            expected="<frame>_mask_color.png or <frame>_mask.npy of each frame",
            hint="unpack the download again, or choose another generator; docs/data.md lists the folders",
        )
    rule = card.resize[shard.header.split]
    for clip_id, files in found.items():
        images = [read_indices(file) for file in files]
        yield clip_id, np.stack([resize_mask(image, size, rule) for image in images] if size else images), []


def candidates(card: DatasetCard, root: Path, frame: Path) -> list[Path]:
    """Where the maskige of a frame may lie, and then its masks."""
    if card.name not in layout.VIDEO_SETS:
        raise AvsbenchError(
            f"{card.name} has no published maskiges",
            expected=f"one of {', '.join(layout.VIDEO_SETS)}",
            hint="choose another generator for this data set",
        )
    parts = frame.relative_to(root).parts
    if card.name == "avss":
        part, clip, _, _ = parts
        tops = [root / "pre_SAM_mask" / "AVSBench_semantic", root / "AVSBench_semantic", root]
        folders = [top / part / clip / name for top in tops for name in ("processed_frames", "frames")]
        kinds = {"_mask_color.png": folders, "_mask.npy": folders}
    else:
        tops = [root, root / "AVSBench_object" / FAMILIES[card.name]]
        places = {"_mask_color.png": "pre_SAM_mask", "_mask.npy": "visual_frames"}
        kinds = {end: [top.joinpath(parts[0], kind, *parts[2:-1]) for top in tops] for end, kind in places.items()}
    return [folder / f"{frame.stem}{end}" for end, folders in kinds.items() for folder in folders]


def read_indices(file: Path) -> np.ndarray:
    """The index image uint8 [H,W] of a maskige (palette or RGB) or of a stack of masks.

    Raises:
        AvsbenchError: a damaged file, another palette, a colour that no mask has, or no stack of masks.
    """
    if file.suffix == ".npy":
        return maskige.index_image(_stack(file))
    image = layout.read_maskige(file)
    return image if image.ndim == 2 else maskige.indices_of(image)


def _stack(file: Path) -> np.ndarray:
    try:
        masks = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise AvsbenchError(
            f"{file}: the masks cannot be read", found=str(error).splitlines()[0], expected="an array, not pickled"
        ) from None
    if masks.ndim != 3 or not set(np.unique(masks).tolist()) <= {0, 1}:
        raise AvsbenchError(
            f"{file}: no stack of masks", found=f"{masks.dtype} {list(masks.shape)}", expected="zeros and ones [N,H,W]"
        )
    return masks
