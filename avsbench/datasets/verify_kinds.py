"""What can be wrong with released data: a closed list of kinds, and which of them an error message stands for."""

from dataclasses import asdict, dataclass

from avsbench.errors import AvsbenchError

FAULT, NOTE = "fault", "note"
"""A fault: training or scoring cannot (or must not) use the clip. A note: it can, and something is odd."""

KINDS = {
    # the data set
    "table": (FAULT, "the table cannot be read, or contradicts itself"),
    "class_numbers": (FAULT, "label2idx.json does not number the classes 1 to 71"),
    "clip_count": (FAULT, "a split has another number of clips than the publication"),
    "count_differs": (NOTE, "another number of clips than the card says, which does not bind here"),
    "two_splits": (FAULT, "a clip stands in two splits"),
    "not_in_table": (NOTE, "files that belong to no clip of the table"),
    # files
    "missing_frame": (FAULT, "frames are missing, and no raw video stands for them"),
    "missing_mask": (FAULT, "masks are missing"),
    "missing_sound": (FAULT, "the sound is missing, or the video that stands for it has none"),
    "empty_file": (FAULT, "a file of 0 bytes"),
    "unreadable_image": (FAULT, "an image is truncated or damaged"),
    "unreadable_sound": (FAULT, "a sound file is truncated or damaged"),
    "unreadable_video": (FAULT, "the raw video that is needed is too short, truncated or damaged"),
    "broken_video": (NOTE, "a raw video is damaged, but frames and sound are there without it"),
    # pictures
    "size_differs": (FAULT, "pictures of one clip differ in size"),
    "wrong_size": (NOTE, "frames or masks are not of the released size 224 x 224"),
    "mask_size": (NOTE, "masks and frames differ in size"),
    "mask_values": (FAULT, "a mask holds a third value, or a value that is no class"),
    "unknown_colour": (FAULT, "a mask holds a colour that is not in the palette"),
    "class_offset": (NOTE, "labels_semantic counts classes from 1; labels_rgb, which is used, does not"),
    "labels_differ": (NOTE, "labels_semantic and labels_rgb, which is used, show different classes"),
    "extra_mask": (NOTE, "masks of frames that the release does not annotate"),
    "still_frames": (NOTE, "all frames are the same picture"),
    "from_video": (NOTE, "frames are made from the raw video"),
    # sound
    "no_samples": (FAULT, "a sound file with a header only"),
    "too_short_sound": (FAULT, "less sound than one audio example needs"),
    "short_sound": (NOTE, "the sound is shorter than the clip"),
    "silent_sound": (NOTE, "every sample of the sound is zero"),
    "muted_sound": (NOTE, "the sound never exceeds a thousandth of full scale"),
    # the rest
    "unusable": (FAULT, "the clip cannot be read for another reason"),
    "crash": (FAULT, "a process ended while it read this clip"),
    "remark": (NOTE, "another remark of the reader"),
}  # fmt: skip
"""Kind -> severity and meaning."""

_PHRASES = (
    ("class numbers", "class_numbers"),
    ("number of classes", "class_numbers"),
    ("is empty", "empty_file"),
    ("no such", "missing_{role}"),
    (" missing", "missing_{role}"),
    ("no folder of frames", "missing_frame"),
    ("no sound track", "missing_sound"),
    ("no samples", "no_samples"),
    ("sound is too short", "too_short_sound"),
    ("differ in size", "size_differs"),
    ("not in the palette", "unknown_colour"),
    ("image cannot be read", "unreadable_image"),
    ("more than two values", "mask_values"),
    ("cannot be told apart", "mask_values"),
)
_DEFAULTS = {"frame": "unreadable_image", "mask": "mask_values", "sound": "unreadable_sound",
             "video": "unreadable_video", "clip": "unusable", "table": "table"}  # fmt: skip
_REMARKS = (
    ("sound is silent", "silent_sound"),
    ("of sound for", "short_sound"),
    ("masks are", "mask_size"),
    ("made from the raw video", "from_video"),
)


@dataclass(frozen=True)
class Line:
    """One line of a report: something about one clip, or about the data set where `clip_id` is empty.

    Attributes:
        kind: one of KINDS.
        text: what exactly, in a sentence.
        clip_id, split: of the clip.
        file: the first file concerned, relative to the folder of the data set.
        files: how many files are concerned.
    """

    kind: str
    text: str
    clip_id: str = ""
    split: str = ""
    file: str = ""
    files: int = 1

    @property
    def severity(self) -> str:
        return KINDS[self.kind][0]

    def record(self) -> dict:
        return asdict(self) | {"severity": self.severity}


def kind_of(error: AvsbenchError, role: str) -> str:
    """The kind of a reader's error about a `role`: frame, mask, sound, video, clip or table."""
    # Messages about a file begin with its path, which may hold any words.
    what = reason(error).rpartition(": ")[2] if role != "table" else reason(error)
    for phrase, kind in _PHRASES:
        if phrase in what:
            name = kind.format(role=role)
            return name if name in KINDS else _DEFAULTS[role]
    return _DEFAULTS[role]


def kind_of_remark(note: str) -> str:
    """The kind of a note that a reader leaves with a clip."""
    return next((kind for phrase, kind in _REMARKS if phrase in note), "remark")


def reason(error: AvsbenchError) -> str:
    """What an error says, without the name of the clip before it."""
    return getattr(error, "reason", error.what)


def sentence(error: AvsbenchError) -> str:
    """An error on one line: what, found, expected."""
    extra = [f"{name} {value}" for name, value in (("found", error.found), ("expected", error.expected)) if value]
    return " ".join("; ".join([reason(error), *extra]).split())
