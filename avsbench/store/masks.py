"""The masks that a generator proposed: the feature `proposals`, and kept beside index images that show only what lies
on top.

/<clip id>   uint8 [masks of all T frames, ceil(HW/8)]: the bits of each mask, row by row, gzip;
             attrs counts (int [T], masks of each frame), size (int [2], H and W)
"""

import numpy as np

from avsbench.store.files import FileReader, FileWriter, check_clip_id, set_attribute


class MaskWriter(FileWriter):
    """Writes masks. Use inside `atomic`."""

    def add(self, clip_id: str, masks: list[np.ndarray]) -> None:
        """Add one clip: of each of its T frames bool [N,H,W]."""
        size = masks[0].shape[1:]
        bits = np.packbits(np.concatenate(masks).reshape(-1, size[0] * size[1]), axis=1)
        pressed = {"chunks": (1, bits.shape[1]), "compression": "gzip", "compression_opts": 4} if len(bits) else {}
        stored = self._file.create_dataset(check_clip_id(clip_id), data=bits, **pressed)
        set_attribute(stored, "counts", np.array([len(frame) for frame in masks]))
        set_attribute(stored, "size", np.array(size))
        self._sink.check()


def stacked(masks: list[np.ndarray]) -> np.ndarray:
    """Of each of T frames bool [n,H,W] -> uint8 [T,N,H,W] of 0 and 1, N those of the frame with most.

    Masks that a frame lacks are all zero, at the end.
    """
    whole = np.zeros((len(masks), max(map(len, masks)), *masks[0].shape[1:]), np.uint8)
    for place, found in zip(whole, masks, strict=True):
        place[: len(found)] = found
    return whole


class MaskReader(FileReader):
    """Reads masks."""

    def masks(self, clip_id: str) -> list[np.ndarray]:
        """Of each of the T frames of a clip bool [N,H,W], as the generator gave them."""
        with self._readable(f"clip {clip_id}"):
            stored = self._entry(clip_id)
            height, width = stored.attrs["size"]
            flat = np.unpackbits(stored[()], axis=1, count=height * width).astype(bool)
            return np.split(flat.reshape(-1, height, width), np.cumsum(stored.attrs["counts"])[:-1])

    def stacked(self, clip_id: str) -> np.ndarray:
        """The masks of a clip as `stacked` gives them, uint8 [T,N,H,W]."""
        return stacked(self.masks(clip_id))

    def shape(self, clip_id: str) -> tuple[int, int, int]:
        """(T, H, W) of a clip; no mask is read."""
        with self._readable(f"clip {clip_id}"):
            stored = self._entry(clip_id)
            return (len(stored.attrs["counts"]), *map(int, stored.attrs["size"]))
