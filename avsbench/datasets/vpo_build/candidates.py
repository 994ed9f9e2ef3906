"""First step: which annotations of COCO may sound.

From `instances_<split>2017.json` (or `panoptic_…`) and the captions: annotations of VPO's classes that are neither
crowds nor too small nor too large. A person is eligible only where the captions agree on the image's one person.
"""

import json
import logging
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from avsbench.datasets.vpo_build.people import person_class
from avsbench.datasets.vpo_build.tables import PERSON, tables
from avsbench.errors import AvsbenchError

COCO_SPLITS = {"train": "train2017", "val": "val2017"}
"""Split of the built set (the reader makes `val` its test split) -> split of COCO."""
MASKS = ("instances", "panoptic")
COLUMNS = ["split", "img_Id", "file_name", "width", "height", "ann_Id", "cateName", "cateId", "x", "y", "w", "h"]
COLUMNS += ["area", "instances", "segmentation"]
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Area:
    """How large an annotation is, as a share of its image; the limits are included."""

    smallest: float = 0.005
    largest: float = 0.9


def find_candidates(coco: Path, masks: str = "instances", area: Area = Area()) -> pd.DataFrame:
    """The eligible annotations of both splits, sorted by split, image and annotation.

    Args:
        coco: folder with `annotations/` (instances or panoptic, and captions, of train2017 and val2017).
        masks: "instances" or "panoptic".
        area: limits.

    Returns:
        Columns split (train, val), img_Id, file_name, width, height (pixels), ann_Id, cateName, cateId (VPO), x, y, w,
        h (bounding box, pixels), area (pixels), instances (annotations of the same COCO category in the image, eligible
        or not) and segmentation (JSON text as in COCO).

    Raises:
        AvsbenchError: a file is missing, damaged or not COCO's.
    """
    found = [_of_split(Path(coco), split, masks, area) for split in COCO_SPLITS]
    table = pd.concat(found, ignore_index=True)
    if table.empty:
        raise AvsbenchError(f"{coco}: no annotation is eligible", expected="some of VPO's classes, not all too small")
    return table.sort_values(["split", "img_Id", "ann_Id"], ignore_index=True)


def image_folder(coco: Path, split: str) -> Path:
    """Where the pictures of a split lie: `train2017/` or `images/train2017/`."""
    places = [coco / COCO_SPLITS[split], coco / "images" / COCO_SPLITS[split]]
    for place in places:
        if place.is_dir():
            return place
    raise AvsbenchError(
        f"{coco}: no pictures of COCO's {COCO_SPLITS[split]}",
        expected=" or ".join(map(str, places)),
        hint="unpack the images there, or name another folder in the configuration: vpo_sources.coco",
    )


def annotation_files(coco: Path, masks: str) -> list[Path]:
    """The files of annotations that the candidates come from."""
    return [
        coco / "annotations" / f"{kind}_{name}.json" for name in COCO_SPLITS.values() for kind in (masks, "captions")
    ]


def _of_split(coco: Path, split: str, masks: str, area: Area) -> pd.DataFrame:
    file = coco / "annotations" / f"{masks}_{COCO_SPLITS[split]}.json"
    content = read_coco(file)
    try:
        _check_categories(content["categories"], file)
        images = pd.DataFrame(content["images"], columns=["id", "file_name", "width", "height"]).set_index("id")
        annotations = _flat(content["annotations"])
    except (KeyError, TypeError) as error:
        raise AvsbenchError(
            f"{file}: not a file of COCO annotations",
            found=f"{type(error).__name__}: {error}",
            hint="download it again",
        ) from None
    table = annotations.join(images, on="img_Id", how="inner", validate="many_to_one")
    table["instances"] = table.groupby(["img_Id", "category"])["ann_Id"].transform("size")
    share = table["area"] / (table["width"] * table["height"])
    table = table[(table["iscrowd"] == 0) & share.between(area.smallest, area.largest)]
    table = table.assign(split=split, cateName=_classes(table, coco, split))
    table = table.dropna(subset="cateName")
    table["cateId"] = table["cateName"].map(tables().mask_ids)
    _LOG.info("%s: %d of %d annotations are eligible", file.name, len(table), len(annotations))
    return table[COLUMNS]


def read_coco(path: Path) -> dict:
    """A file of COCO annotations, without what nobody here asks for.

    Objects shrink while the file is parsed: segmentations become text, those of other categories and of crowds vanish.
    So the 450 MB of instances_train2017 need a quarter of the memory of a plain `json.load`.
    """
    wanted = {PERSON, *tables().coco_ids}

    def shrink(entry: dict) -> dict | None:
        if "category_id" in entry and "image_id" in entry:
            if entry["category_id"] not in wanted:
                return None
            entry["segmentation"] = (
                None if entry["iscrowd"] else json.dumps(entry["segmentation"], separators=(",", ":"))
            )
        elif "file_name" in entry and "height" in entry:
            return {key: entry[key] for key in ("id", "file_name", "width", "height")}
        return entry

    if not path.is_file():
        raise AvsbenchError(
            f"{path}: no such file of annotations",
            hint="unpack COCO's annotations_trainval2017.zip (panoptic_annotations_trainval2017.zip) there, "
            "or name another folder in the configuration: vpo_sources.coco",
        )
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file, object_hook=shrink)
    except (ValueError, KeyError) as error:
        raise AvsbenchError(
            f"{path}: not a whole file of COCO annotations",
            found=f"{type(error).__name__}: {error}",
            hint="download it again",
        ) from None
    if not isinstance(content, dict):
        raise AvsbenchError(f"{path}: not a file of COCO annotations", found=f"a {type(content).__name__}")
    return content


def _flat(annotations: list) -> pd.DataFrame:
    """A row per annotation of VPO's categories; the segments of a panoptic picture become annotations."""
    rows = []
    for entry in annotations:
        if entry is None:
            continue
        for one in entry.get("segments_info", [entry]):
            segmentation = one.get("segmentation") or json.dumps({"png": entry.get("file_name"), "id": one["id"]})
            place = (entry["image_id"], one["id"], one["category_id"], one["iscrowd"], one["area"], *one["bbox"])
            rows.append((*place, segmentation))
    names = ["img_Id", "ann_Id", "category", "iscrowd", "area", "x", "y", "w", "h", "segmentation"]
    table = pd.DataFrame(rows, columns=names)
    return table[table["category"].isin({PERSON, *tables().coco_ids})]


def _check_categories(categories: list[dict], file: Path) -> None:
    """COCO's numbers must mean what VPO's masks take them for."""
    named = {entry["id"]: entry["name"] for entry in categories}
    expected = {PERSON: "person", **tables().coco_ids}
    wrong = [
        f"{number} is {named.get(number)!r}, not {name!r}"
        for number, name in expected.items()
        if named.get(number) != name
    ]
    if wrong:
        raise AvsbenchError(
            f"{file}: other categories than COCO's", found="; ".join(wrong), hint="take COCO 2017's own file"
        )


def _classes(table: pd.DataFrame, coco: Path, split: str) -> pd.Series:
    """The class of every annotation; None for a person whom the captions do not tell."""
    classes = table["category"].map(tables().coco_ids)
    people = table[(table["category"] == PERSON) & (table["instances"] == 1)]
    captions = _captions(coco / "annotations" / f"captions_{COCO_SPLITS[split]}.json", set(people["img_Id"]))
    classes[people.index] = [person_class(captions[image]) for image in people["img_Id"]]
    return classes


def _captions(file: Path, images: set[int]) -> dict[int, list[str]]:
    found = defaultdict(list)
    for entry in read_coco(file).get("annotations", []):
        if entry.get("image_id") in images:
            found[entry["image_id"]].append(str(entry.get("caption", "")))
    return found
