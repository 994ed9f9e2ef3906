"""Original pictures: what the release holds comes back, and methods and scores see it where they ask for it."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from avsbench import datasets
from avsbench.datasets.clip import ClipFault
from avsbench.errors import AvsbenchError
from avsbench.evaluation.predict import predict_clips
from avsbench.evaluation.predictions import PredictionInfo, PredictionReader, PredictionWriter
from avsbench.evaluation.score import read_scores, score_predictions, stored_truth
from avsbench.media.images import read_colour_mask, read_image
from avsbench.paths import Paths
from avsbench.store.build import build_index, extract_shard
from avsbench.store.loader import ClipDataset, make_loader
from avsbench.store.manifest import write_manifests
from avsbench.store.native import native_shard
from avsbench.store.originals import NativeReader
from tests.unit.rendered import own, rendered, small_card  # noqa: F401 - fixtures

SIZE = 32


@pytest.fixture(scope="module")
def avss(rendered, tmp_path_factory):  # noqa: F811
    """paths, card and reader of a small AVSS with shards and originals of the test split."""
    card = dataclasses.replace(small_card("avss"), shards={"mini": {"train": 1, "val": 1, "test": 2}})
    paths = Paths("mini", data_root=str(tmp_path_factory.mktemp("data")))
    reader = datasets.reader(card, rendered("avss"))
    write_manifests(card, "mini", reader.table(), paths)
    for shard in range(2):
        place = ("avss", "test", shard, 2)
        shared = {"card": card, "scale": "mini", "reader": reader, "manifest_path": paths.manifest(*place)}
        shared |= {"split": "test", "shard": shard, "shards": 2}
        extract_shard(**shared, image_size=SIZE, out=paths.shard(*place), faults_out=paths.faults(*place))
        native_shard(**shared, out=paths.native(*place))
    build_index(card=card, scale="mini", split="test", paths=paths)
    return paths, card, reader


def test_the_bytes_are_those_of_the_release(avss):
    paths, card, reader = avss
    found = 0
    for shard in range(2):
        with NativeReader(paths.native("avss", "test", shard, 2), dataset="avss", split="test", image_size=0) as stored:
            for clip_id in stored.clip_ids():
                files = reader.files({"clip_id": clip_id, "split": "test"})
                assert stored.files(clip_id) == [file.read_bytes() for file in files.frames]
                labels = np.stack([read_colour_mask(file, 71) for file in files.masks])
                frames, masks = stored.pictures(clip_id, np.ones(len(labels), bool))
                assert np.array_equal(masks, labels)
                assert np.array_equal(frames[0], read_image(files.frames[0]).transpose(2, 0, 1))
                assert stored.size(clip_id) == labels.shape[1:]
                found += 1
    assert found == card.splits["mini"]["test"]


def test_a_method_that_asks_sees_the_original_size(avss):
    paths, card, _ = avss
    with ClipDataset(paths, card, "test", native=True) as clips, ClipDataset(paths, card, "test") as small:
        sizes = set()
        for number, clip_id in enumerate(clips.clip_ids):
            item = clips[number]
            size = clips.original_size(clip_id)
            assert item["frames"].shape == (len(item["real"]), 3, *size)
            assert item["masks"].shape == (len(item["real"]), *size)
            assert small[number]["frames"].shape[-2:] == (SIZE, SIZE)
            assert np.array_equal(small.original_masks(number), item["masks"].numpy())
            sizes.add(size)
        assert len(sizes) > 1, "one size does not test anything"


class Loud(torch.nn.Module):
    """Says class 3 where the picture is bright; sees the size that its input has."""

    channels = 71
    seen: set = set()

    def forward(self, batch):
        self.seen.add(tuple(batch.frames.shape[-2:]))
        return {"bright": (batch.frames.float().mean(dim=2, keepdim=True) > 128).float()}

    def scores(self, output, size):
        bright = torch.nn.functional.interpolate(output["bright"].flatten(0, 1), size, mode="bilinear")
        scores = torch.zeros(len(bright), 71, *size)
        scores[:, 3] = bright[:, 0] - 0.5
        return scores[None]

    def masks(self, scores):
        return scores.argmax(dim=2)


def test_scores_on_both_grids(avss, tmp_path):
    paths, card, _ = avss
    method, file = Loud(), tmp_path / "p.h5"
    with ClipDataset(paths, card, "test", masks=False, native=True) as clips:
        sizes = {name: clips.original_size(name) for name in clips.clip_ids}
        with PredictionWriter(file, PredictionInfo("avss", "loud", "0", "positive", "semantic", 71)) as writer:
            predict_clips(
                method,
                make_loader(clips, batch=1),
                writer,
                grids=("common", "native"),
                common_size=(SIZE, SIZE),
                native_sizes=sizes,
            )
    assert method.seen == set(sizes.values())
    with PredictionReader(file) as predictions:
        for name, size in sizes.items():
            assert predictions.size("common", name)[1:] == (SIZE, SIZE)
            assert predictions.size("native", name)[1:] == size
    frames, scores = tmp_path / "frames.parquet", tmp_path / "scores.json"
    score_predictions(file, stored_truth(paths, card, native=True), frames, scores, padded_to=10)
    assert read_scores(scores, "native")["frames"] == read_scores(scores, "common")["frames"]
    with pytest.raises(AvsbenchError, match="no masks of the original size"):
        score_predictions(file, stored_truth(paths, card), frames, scores, padded_to=10)


def test_frames_from_a_video(own):  # noqa: F811
    root = own("s4")
    reader = datasets.reader(small_card("s4"), root)
    row = reader.table().query("split == 'test'").iloc[0]
    released = reader.originals(row)
    shutil.rmtree(reader.files(row).frames[0].parent)
    made = reader.originals(row)
    assert len(made.frames) == len(released.frames) == 5
    assert all(data.startswith(b"\x89PNG") for data in made.frames)
    assert all(np.array_equal(a, b) for a, b in zip(made.masks, released.masks, strict=True))


def test_faults_name_the_clip_and_do_not_lose_the_others(own, tmp_path, caplog):  # noqa: F811
    root = own("avss")
    card = dataclasses.replace(small_card("avss"), shards={"mini": {"train": 1, "val": 1, "test": 1}})
    reader = datasets.reader(card, root)
    paths = Paths("mini", data_root=str(tmp_path / "data"))
    rows = reader.table().query("split == 'test'")
    broken, odd = rows.iloc[0], rows.iloc[1]
    reader.files(broken).frames[0].unlink()
    Image.new("RGB", (20, 10)).save(reader.files(odd).masks[0])
    with pytest.raises(ClipFault, match=broken["clip_id"]):
        reader.originals(broken)
    write_manifests(card, "mini", reader.table(), paths)
    place = ("avss", "test", 0, 1)
    native_shard(
        card=card,
        scale="mini",
        reader=reader,
        manifest_path=paths.manifest(*place),
        out=paths.native(*place),
        split="test",
        shard=0,
        shards=1,
    )
    with NativeReader(paths.native(*place)) as stored:
        assert set(stored.clip_ids()) == set(rows["clip_id"]) - {broken["clip_id"], odd["clip_id"]}
    assert broken["clip_id"] in caplog.text
    assert odd["clip_id"] in caplog.text
