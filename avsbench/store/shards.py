"""HDF5 shards of clips, and shards of one array a clip (front ends, features).

A shard of clips, one group a clip:

    /                       attrs format, version, content "clips", dataset, scale, split, shard, shards, image_size
    /<clip id>              attrs position, category, part, annotated (bool [T])
    /<clip id>/frames       uint8 [T,3,H,W]
    /<clip id>/masks        uint8 [A,H,W] of the A annotated frames; class ids, 255 = ignore
    /<clip id>/sound/<i>    [N,channels] in the type of its file; attrs rate, subtype, category, position

Pictures are plain and in the order that a network wants, so that reading a clip is one read of the disk and no work.
H = W = `image_size`, the S of the house, except where that is 0: there every clip keeps its own size (VPO).

A shard of arrays has the same attributes, with the name of the front end or feature as content, and one data set
/<clip id> [T,...] a clip. The same input gives the same bytes: nothing holds a date.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avsbench.media.sound import Sound
from avsbench.store.files import (
    CLIPS,
    REBUILD,
    FileReader,
    FileWriter,
    Header,
    check_clip_id,
    get_attribute,
    set_attribute,
)

__all__ = [
    "REBUILD",
    "ArrayReader",
    "ArrayWriter",
    "Header",
    "ShardReader",
    "ShardWriter",
    "StoredClip",
    "check_clip_id",
    "spread",
]

UNANNOTATED = 255
"""Mask value all over a frame without annotation."""


@dataclass
class StoredClip:
    """The pictures of one clip.

    Attributes:
        frames: uint8 [T,H,W,3].
        masks: uint8 [T,H,W], 255 in frames without annotation; None when they were not asked for.
        annotated: bool [T].
        position: row number of the clip in its split, in csv order.
        category, part: as in the index.
    """

    frames: np.ndarray
    masks: np.ndarray | None
    annotated: np.ndarray
    position: int
    category: str
    part: str


def spread(masks: np.ndarray, annotated: np.ndarray) -> np.ndarray:
    """Masks [A,H,W] of the annotated frames -> [T,H,W], 255 in the others."""
    if annotated.all():
        return masks
    whole = np.full((len(annotated), *masks.shape[1:]), UNANNOTATED, np.uint8)
    whole[annotated] = masks
    return whole


# writing


class ShardWriter(FileWriter):
    """Writes clips. Use inside `atomic`: the file is complete only after the context ended without an error."""

    def add(
        self,
        clip_id: str,
        *,
        frames: np.ndarray,
        masks: np.ndarray,
        annotated: np.ndarray,
        sounds: list[Sound],
        position: int,
        category: str = "",
        part: str = "",
    ) -> None:
        """Add one clip. Raises OSError when the disk is full, AvsbenchError for a name that HDF5 cannot hold."""
        group = self._file.create_group(check_clip_id(clip_id))
        set_attribute(group, "position", int(position))
        set_attribute(group, "category", category)
        set_attribute(group, "part", part)
        set_attribute(group, "annotated", np.asarray(annotated, bool))
        group.create_dataset("frames", data=np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))
        group.create_dataset("masks", data=masks[np.asarray(annotated, bool)])
        track = group.create_group("sound")
        for index, sound in enumerate(sounds):
            stored = track.create_dataset(str(index), data=sound.samples)
            set_attribute(stored, "rate", int(sound.rate))
            set_attribute(stored, "subtype", sound.subtype)
            set_attribute(stored, "category", sound.category)
            set_attribute(stored, "position", float(sound.position))
        self._sink.check()


class ArrayWriter(FileWriter):
    """Writes one array a clip."""

    def add(self, clip_id: str, array: np.ndarray) -> None:
        """Add the array [T,...] of one clip."""
        self._file.create_dataset(check_clip_id(clip_id), data=array)
        self._sink.check()


# reading


class ShardReader(FileReader):
    """Reads clips. `header.content` must be "clips"."""

    def __init__(self, path: str | Path, **expect):
        super().__init__(path, content=CLIPS, **expect)

    def clip(self, clip_id: str, masks: bool = True) -> StoredClip:
        """Frames, and masks unless not wanted, of one clip."""
        with self._readable(f"clip {clip_id}"):
            group = self._entry(clip_id)
            annotated = np.asarray(group.attrs["annotated"], bool)
            frames, found = self.pictures(clip_id, annotated if masks else None)
            return StoredClip(
                frames=frames.transpose(0, 2, 3, 1),
                masks=found,
                annotated=annotated,
                position=int(group.attrs["position"]),
                category=get_attribute(group, "category"),
                part=get_attribute(group, "part"),
            )

    def pictures(self, clip_id: str, annotated: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        """What training reads of one clip: frames uint8 [T,3,H,W] and, if `annotated` is given, masks uint8 [T,H,W].

        Args:
            annotated: bool [T] as the index holds it, to which frames the stored masks belong.
        """
        with self._readable(f"clip {clip_id}"):
            frames = self._whole(clip_id, "frames")
        return frames, None if annotated is None else self.masks(clip_id, annotated)

    def masks(self, clip_id: str, annotated: np.ndarray) -> np.ndarray:
        """Masks of one clip, uint8 [T,H,W]."""
        with self._readable(f"the masks of clip {clip_id}"):
            return spread(self._whole(clip_id, "masks"), annotated)

    def sounds(self, clip_id: str) -> list[Sound]:
        """The sources of one clip, as their files stored them."""
        with self._readable(f"the sound of clip {clip_id}"):
            track = self._entry(clip_id)["sound"]
            stored = [track[str(index)] for index in range(len(track))]
            return [
                Sound(
                    samples=entry[()],
                    rate=int(entry.attrs["rate"]),
                    subtype=get_attribute(entry, "subtype"),
                    category=get_attribute(entry, "category"),
                    position=float(entry.attrs["position"]),
                )
                for entry in stored
            ]

    def row(self, clip_id: str) -> dict:
        """What the index says of a clip, from attributes and shapes alone: no array is read."""
        with self._readable(f"clip {clip_id}"):
            group = self._entry(clip_id)
            frames, _, height, width = group["frames"].shape
            return {
                "clip_id": clip_id,
                "position": int(group.attrs["position"]),
                "shard": self.header.shard,
                "frames": frames,
                "height": height,
                "width": width,
                "category": get_attribute(group, "category"),
                "part": get_attribute(group, "part"),
                "annotated": [bool(flag) for flag in group.attrs["annotated"]],
            }


class ArrayReader(FileReader):
    """Reads one array a clip."""

    def array(self, clip_id: str) -> np.ndarray:
        """The array [T,...] of one clip."""
        with self._readable(f"clip {clip_id}"):
            return self._whole(clip_id)
