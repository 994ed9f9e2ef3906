"""Shards of original pictures, as the rule `native` writes them.

/                       attributes as in a shard of clips, content "native", image_size 0
/<clip id>/frames       uint8 [bytes]: the T encoded images of the release (PNG or JPEG), end to end; attr ends [T]
/<clip id>/masks        uint8 [A,H,W] of the A annotated frames, gzip; class ids, 255 = ignore
"""

from pathlib import Path

import numpy as np

from avsbench.media.images import decode_image
from avsbench.store.files import FileReader, FileWriter, check_clip_id, set_attribute
from avsbench.store.shards import spread

NATIVE = "native"


class NativeWriter(FileWriter):
    """Writes original pictures. Use inside `atomic`."""

    def add(self, clip_id: str, *, frames: list[bytes], masks: list[np.ndarray]) -> None:
        """Add one clip: T encoded images, and class ids uint8 [H,W] of each annotated frame."""
        group = self._file.create_group(check_clip_id(clip_id))
        stored = group.create_dataset("frames", data=np.frombuffer(b"".join(frames), np.uint8))
        set_attribute(stored, "ends", np.cumsum([len(data) for data in frames]))
        chunks = (1, *masks[0].shape)
        group.create_dataset("masks", data=np.stack(masks), chunks=chunks, compression="gzip", compression_opts=1)
        self._sink.check()


class NativeReader(FileReader):
    """Reads original pictures. `header.content` must be "native"."""

    def __init__(self, path: str | Path, **expect):
        super().__init__(path, content=NATIVE, **expect)

    def files(self, clip_id: str) -> list[bytes]:
        """The T encoded images of one clip."""
        with self._readable(f"clip {clip_id}"):
            ends = self._entry(clip_id)["frames"].attrs["ends"]
            whole = self._whole(clip_id, "frames").tobytes()
            return [whole[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]

    def size(self, clip_id: str) -> tuple[int, int]:
        """(H, W) of one clip."""
        with self._readable(f"clip {clip_id}"):
            return self._entry(clip_id)["masks"].shape[1:]

    def pictures(self, clip_id: str, annotated: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        """Decoded: frames uint8 [T,3,H,W] and, if `annotated` (bool [T]) is given, masks uint8 [T,H,W]."""
        images = [decode_image(data, f"{self.path}: clip {clip_id}") for data in self.files(clip_id)]
        frames = np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))
        return frames, None if annotated is None else self.masks(clip_id, annotated)

    def masks(self, clip_id: str, annotated: np.ndarray) -> np.ndarray:
        """Masks of one clip at the original size, uint8 [T,H,W]."""
        with self._readable(f"the masks of clip {clip_id}"):
            return spread(self._whole(clip_id, "masks"), annotated)
