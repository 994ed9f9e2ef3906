"""From rendered files in the official layout to batches, through the real readers."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from avsbench import cards, datasets
from avsbench.paths import Paths
from avsbench.store.build import audio_shard, build_index
from avsbench.store.loader import ClipDataset, make_loader
from avsbench.store.manifest import write_dataset_manifests
from tests.unit.store_fakes import extract


@pytest.mark.parametrize("name", ["s4", "avss"])
def test_rendered_clips_reach_a_batch(tmp_path, name):
    splits = {"train": 3, "val": 1, "test": 1}
    of = dataclasses.replace(
        cards.dataset(name), splits={"mini": splits}, shards={"mini": {"train": 2, "val": 1, "test": 1}}
    )
    paths = Paths("mini", data_root=str(tmp_path))
    datasets.acquire(of, scale="mini", root=None, out=paths, workers=1)
    assert len(write_dataset_manifests(of, paths)) == 4
    reader = datasets.reader(of, Path(paths.official(name)))
    for split, shards in of.shards["mini"].items():
        for shard in range(shards):
            path = extract(of, paths, reader, split, shard, size=64)
            outs = {"vggish_mel": paths.audio(name, "vggish_mel", split, shard, shards)}
            audio_shard(card=of, shard_path=path, outs=outs)
        build_index(card=of, scale="mini", split=split, paths=paths)
    with ClipDataset(paths, of, "train", ("vggish_mel",), image_size=64) as clips:
        (batch,) = make_loader(clips, batch=3, pad_to=of.frames)
    assert batch.frames.shape == (3, of.frames, 3, 64, 64)
    assert batch.audio["vggish_mel"].shape == (3, of.frames, 1, 96, 64)
    assert torch.isfinite(batch.audio["vggish_mel"]).all()
    rows = reader.table()
    rows = rows[rows["split"] == "train"]
    assert batch.clip_ids == list(rows["clip_id"])
    for number, row in enumerate(rows.to_dict("records")):
        clip = reader.read(row, 64)
        real = batch.real[number]
        assert np.array_equal(batch.frames[number, real].permute(0, 2, 3, 1).numpy(), clip.frames)
        assert np.array_equal(batch.masks[number, real].numpy(), clip.masks)
        assert np.array_equal(batch.annotated[number, real].numpy(), clip.annotated)
        assert (batch.masks[number, ~batch.annotated[number]] == 255).all()
