"""Training on random frames of each clip: which frames, from whose random numbers, and how batches look."""

from collections import Counter

import pytest
import torch

from avsbench import cards
from avsbench.contract import IGNORE
from avsbench.engine.data import StoredData
from avsbench.spec import RunSpec
from avsbench.store.clips import seeded_generator
from avsbench.transforms.choice import SomeFrames
from tests.unit.engine_fakes import TinyMethod
from tests.unit.store_fakes import SIZE, build


def clip(annotated):
    """Every number in frame k is k."""
    frames = len(annotated)
    each = torch.arange(frames)
    return {
        "clip_id": "a",
        "position": 3,
        "frames": each.to(torch.uint8)[:, None, None, None].expand(frames, 3, 2, 2).clone(),
        "masks": each[:, None, None].expand(frames, 2, 2).clone(),
        "real": torch.ones(frames, dtype=torch.bool),
        "annotated": torch.tensor(annotated),
        "audio": {"mel": each[:, None].float()},
        "features": {"map": each[:, None].float()},
    }


def shown(found):
    """Numbers of the frames, after all arrays were found to agree on them."""
    numbers = found["masks"][:, 0, 0].tolist()
    assert found["frames"][:, 0, 0, 0].tolist() == numbers
    assert found["audio"]["mel"][:, 0].tolist() == numbers
    assert found["features"]["map"][:, 0].tolist() == numbers
    assert len(found["real"]) == len(found["annotated"]) == len(numbers)
    return numbers


def test_the_only_frame_with_a_mask_is_always_taken():
    for number in range(5):
        found = SomeFrames(1)(clip([True, False, False, False, False]), seeded_generator(number))
        assert shown(found) == [0]
        assert found["annotated"].tolist() == [True]


def test_every_frame_with_a_mask_comes_equally_often():
    counts = Counter(shown(SomeFrames(1)(clip([True, False, True, True]), seeded_generator(n)))[0] for n in range(300))
    assert set(counts) == {0, 2, 3}
    assert min(counts.values()) > 70


def test_several_frames_keep_their_order_and_none_comes_twice():
    found = [tuple(shown(SomeFrames(3)(clip([True] * 5), seeded_generator(n)))) for n in range(60)]
    assert all(list(numbers) == sorted(set(numbers)) and len(numbers) == 3 for numbers in found)
    assert len(set(found)) == 10
    assert shown(SomeFrames(3)(clip([False, True, True, False]), seeded_generator(0))) == [1, 2]


def test_a_clip_without_masks_gives_a_frame_without():
    found = SomeFrames(1)(clip([False, False]), seeded_generator(0))
    assert found["annotated"].tolist() == [False]


def test_the_augmentation_sees_what_was_chosen():
    def mark(clip, generator):
        return {**clip, "drawn": torch.rand((), generator=generator), "seen": len(clip["frames"])}

    first, second = (SomeFrames(1, mark)(clip([True] * 5), seeded_generator("x")) for _ in range(2))
    assert first["seen"] == 1
    assert first["drawn"] == second["drawn"]
    assert shown(first) == shown(second)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return build(tmp_path_factory.mktemp("store"))


def data(store, seed="0", **recipe):
    paths, of = store
    recipe = {"batch": 7, **recipe}
    spec = RunSpec(
        scale="mini", dataset=of.name, variant="tpavi-r50", seed=seed, recipe=recipe, image_size=SIZE, paths=paths
    )
    return StoredData(spec, cards.variant("tpavi-r50"), of, TinyMethod(), on_gpu=False)


def epoch(found, number):
    (shares,) = found.train(number, skip=0)
    return shares[0].batch


def test_an_epoch_sees_one_random_frame_of_each_clip(store):
    found, whole = data(store, clip_frames=1), data(store)
    batch = epoch(found, 0)
    assert batch.frames.shape == (7, 1, 3, SIZE, SIZE)
    assert batch.real.all()
    assert batch.annotated.all()
    assert not (batch.masks == IGNORE).all(dim=(1, 2, 3)).any()
    assert batch.audio["vggish_mel"].shape == (7, 1, 1, 96, 64)
    every = epoch(whole, 0)
    assert every.frames.shape == (7, 10, 3, SIZE, SIZE)
    assert batch.clip_ids == every.clip_ids, "the order of clips is the same"
    again = epoch(data(store, clip_frames=1), 0)
    assert torch.equal(batch.frames, again.frames)


def test_other_epochs_and_seeds_see_other_frames_and_validation_all(store):
    def of(number, **about):
        batch = epoch(data(store, clip_frames=1, **about), number)
        return dict(zip(batch.clip_ids, batch.frames, strict=True))

    first, second, third = of(0), of(1), of(0, seed="1")
    for other in (second, third):
        assert any(not torch.equal(first[name], other[name]) for name in first)
    assert min(batch.frames.shape[1] for batch in data(store, clip_frames=1).validation()) >= 5
