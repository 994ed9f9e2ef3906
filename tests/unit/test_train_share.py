"""Training on a share of the clips: which, and that every epoch and seed sees the same ones."""

import itertools

import pandas as pd
import pytest

from avsbench import cards
from avsbench.engine.data import StoredData, train_clips
from avsbench.engine.train import full_run_estimate
from avsbench.errors import AvsbenchError
from avsbench.spec import RunSpec
from tests.unit.engine_fakes import TinyMethod
from tests.unit.store_fakes import SIZE, build


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return build(tmp_path_factory.mktemp("store"))


def data(store, seed="0", **recipe):
    paths, of = store
    recipe = {"batch": 2, **recipe}
    spec = RunSpec(
        scale="mini", dataset=of.name, variant="tpavi-r50", seed=seed, recipe=recipe, image_size=SIZE, paths=paths
    )
    return StoredData(spec, cards.variant("tpavi-r50"), of, TinyMethod(), on_gpu=False)


def seen(found, epoch, skip=0):
    return [tuple(share.batch.clip_ids) for shares in found.train(epoch, skip) for share in shares]


def test_the_draw_is_the_published_one():
    table = pd.DataFrame({"name": [f"clip{number}" for number in range(3452)]})
    for share, count in {0.2: 690, 0.5: 1726}.items():
        published = table.sample(frac=share, replace=False, random_state=0)
        chosen = train_clips(len(table), share)
        assert len(chosen) == count
        assert set(table.name[chosen]) == set(published.name)
        assert chosen == sorted(chosen)
    assert train_clips(5, 1.0) == [0, 1, 2, 3, 4]


def test_every_epoch_and_seed_sees_the_same_clips_in_another_order(store):
    whole, found = data(store), data(store, train_share=0.5)
    count = len(whole.training)
    every = [whole.training.clip_ids[number] for number in train_clips(count, 0.5)]
    assert 0 < len(every) < count
    orders = [seen(of, epoch) for of in (found, data(store, "1", train_share=0.5)) for epoch in (0, 1)]
    assert all(sorted(itertools.chain(*order)) == sorted(every) for order in orders)
    assert len(set(map(tuple, orders))) > 1
    assert found.steps_per_epoch == -(-len(every) // 2)
    assert seen(found, 0, skip=1) == seen(found, 0)[1:]


def test_validation_sees_all(store):
    whole, found = ([batch.clip_ids for batch in data(store, **of).validation()] for of in ({}, {"train_share": 0.5}))
    assert whole == found


def test_a_share_without_any_clip_is_an_error(store):
    with pytest.raises(AvsbenchError, match=r"train\.parquet: no clips"):
        data(store, train_share=0.01)


def test_a_share_with_negatives_is_refused(store):
    with pytest.raises(AvsbenchError, match="train_share and negatives do not go together"):
        data(store, train_share=0.5, negatives={"percent": 50})


def test_the_estimate_of_a_full_run_counts_them():
    whole, fifth = (cards.variant(f"aclp-fpn{row}") for row in ("", "@sam4avs_data.aclp-fifth"))
    steps = [full_run_estimate(of, cards.dataset("s4"), 0.1)["steps"] for of in (whole, fifth)]
    assert steps == [70 * 863, 70 * 173]
