"""Other sounds under the clips of a split: whose, of what front ends, and how training mixes them in."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from avsbench.engine import conditions
from avsbench.errors import AvsbenchError
from avsbench.features import Deriver
from avsbench.features.settings import Setting
from avsbench.media.clip_sound import ClipSound
from avsbench.media.front_ends import FRONT_ENDS
from avsbench.media.negatives import NOISE_RATE, silence, white_noise
from avsbench.paths import Paths
from avsbench.store.clips import ClipDataset
from avsbench.store.loader import make_loader
from avsbench.store.negatives import HeardClips, MixedClips, Negatives, mixed
from avsbench.store.offscreen import (
    CATEGORIES,
    FORBIDDEN,
    OBJECTS,
    draw_partners,
    generator_of,
    read_partners,
    write_negatives,
)
from tests.unit import store_fakes

SPLITS = {"train": 8, "val": 3, "test": 6}
CAST = ["dog_barking", "playing_piano", "male_speech", "helicopter"]
ENDS = ("vggish_mel", "cavp_mel")


class Reader(store_fakes.FakeReader):
    """Clips of S4 in four categories, all of five frames."""

    def table(self):
        table = super().table()
        return table.assign(frames=5, part="", category=[CAST[number % len(CAST)] for number in table["position"]])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    card = store_fakes.card("s4", SPLITS)
    return store_fakes.build(tmp_path_factory.mktemp("store"), card, Reader(card), ENDS)


@pytest.fixture(scope="module")
def partners(store):
    paths, card = store
    write_negatives(card, "test", paths)
    return read_partners(paths.negatives("s4", "test"))


def clips_of(store, split="test", **options):
    paths, card = store
    return ClipDataset(paths, card, split, front_ends=ENDS, **options)


def kind(clip):
    return CATEGORIES[CAST[int(clip.rsplit("_", 1)[1]) % len(CAST)]]


# whose sound


def test_partners_are_of_allowed_kinds(store, partners):
    assert set(partners) == set(clips_of(store).clip_ids)
    allowed = {"animal": {"music", "device"}, "music": {"animal", "device"}, "human": {"animal", "device"}}
    allowed["device"] = {"music", "human", "animal"}
    for clip, partner in partners.items():
        assert kind(partner) in allowed[kind(clip)], (clip, partner)


def test_the_list_says_kinds(store, partners):
    paths, _ = store
    table = pd.read_csv(paths.negatives("s4", "test"), dtype=str)
    assert list(table["clip_id"]) == clips_of(store).clip_ids
    assert [kind(clip) for clip in table["clip_id"]] == list(table["kinds"])
    assert [kind(clip) for clip in table["partner"]] == list(table["partner_kinds"])


KINDS = st.sets(st.sampled_from(["music", "human", "animal", "device"]), max_size=2).map(frozenset)


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=4), KINDS, min_size=2, max_size=12), st.randoms())
def test_a_partner_does_not_depend_on_order(kinds, random):
    groups = {clip: clip for clip in kinds}
    drawn = draw_partners(kinds, groups, FORBIDDEN["ms3"])
    clips = list(kinds)
    random.shuffle(clips)
    assert draw_partners({clip: kinds[clip] for clip in clips}, groups, FORBIDDEN["ms3"]) == drawn
    assert set(drawn) == {clip for clip in kinds if kinds[clip]}
    for clip, partner in drawn.items():
        assert partner != clip
        refused = kinds[clip] | {FORBIDDEN["ms3"].get(name) for name in kinds[clip]}
        possible = any(not kinds[other] & refused for other in kinds if other != clip)
        assert not possible or not kinds[partner] & refused


def test_a_category_is_drawn_before_a_clip():
    """One dog stands for as many draws as nine pianos: categories are equally likely."""
    kinds = {f"cry{n}": frozenset(["human"]) for n in range(400)} | {"dog": frozenset(["animal"])}
    kinds |= {f"bus{n}": frozenset(["device"]) for n in range(9)}
    groups = {clip: clip.rstrip("0123456789") for clip in kinds}
    drawn = draw_partners(kinds, groups, FORBIDDEN["s4"])
    share = sum(drawn[clip] == "dog" for clip in kinds if clip.startswith("cry")) / 400
    assert 0.4 < share < 0.6


def test_kinds_are_those_of_the_data_sets():
    from avsbench.datasets.mini_kinds import KINDS as DRAWN
    from avsbench.datasets.mini_kinds import MULTI_KINDS

    assert len(CATEGORIES) == 23
    assert {kind.category for kind in DRAWN} <= set(CATEGORIES)
    assert {kind.name for kind in MULTI_KINDS} <= set(OBJECTS)


def test_objects_of_ms3_come_from_the_table_of_avss(tmp_path):
    card = store_fakes.card("ms3", SPLITS)
    paths, _ = store_fakes.build(tmp_path, card, Reader(card), ())
    with pytest.raises(AvsbenchError, match="MS3 does not say what sounds"):
        write_negatives(card, "test", paths)
    sounding = ["dog", "piano", "clock", "man_dog", "piano", "car"]
    rows = [f"-a.test_{n},x,{objects},test,v1m" for n, objects in enumerate(sounding)]
    rows.append("-a.test_0,x,man,test,v2")  # a clip of another part
    folder = tmp_path / "mini/avss/official"
    folder.mkdir(parents=True)
    (folder / "metadata.csv").write_text("\n".join(["uid,vid,a_obj,split,label", *rows]))
    table = write_negatives(card, "test", paths).set_index("clip_id")
    assert table.loc["-a.test_2", "partner"] == ""  # a clock is of no kind
    assert table.loc["-a.test_3", "kinds"] == "animal+human"
    assert table.loc["-a.test_3", "partner"] in {"-a.test_2", "-a.test_5"}  # neither animal, human nor music


def test_a_damaged_list_is_named(tmp_path):
    file = tmp_path / "negatives.csv"
    with pytest.raises(AvsbenchError, match="no such list of negatives"):
        read_partners(file)
    file.write_text("a,b\n1,2\n")
    with pytest.raises(AvsbenchError, match="not a list of negatives"):
        read_partners(file)


# what is heard


def test_sounds():
    quiet, loud = silence(5), white_noise(5, generator_of("a"))
    assert quiet.silent
    assert (quiet.seconds, loud.seconds, loud.rate) == (5, 5, NOISE_RATE)
    assert loud.samples.dtype == np.int16
    assert abs(loud.samples / 32768).max() > 0.99
    np.testing.assert_allclose((loud.samples / 32768).std(), 3**-0.5, rtol=0.01)
    assert np.array_equal(white_noise(1, generator_of("a")).samples, white_noise(1, generator_of("a")).samples)
    assert not np.array_equal(white_noise(1, generator_of("a")).samples, white_noise(1, generator_of("b")).samples)


@pytest.mark.parametrize("name", list(FRONT_ENDS))
def test_every_front_end_takes_them(name):
    end = FRONT_ENDS[name]
    for sound in (silence(5), white_noise(5, generator_of("a"))):
        assert end.compute(ClipSound([sound], 5)).shape == (5, *end.shape)


def test_off_screen_is_the_sound_of_the_partner(store, partners):
    clips = clips_of(store)
    own = {clip["clip_id"]: clip["audio"] for clip in map(clips.__getitem__, range(len(clips)))}
    heard = HeardClips(clips, "offscreen", partners)
    assert heard.clip_ids == clips.clip_ids
    for number in range(len(heard)):
        clip = heard.item(number, 0, 0)
        for name in ENDS:
            torch.testing.assert_close(clip["audio"][name], own[partners[clip["clip_id"]]][name], rtol=0, atol=0)


@pytest.mark.parametrize("condition", ["silence", "noise", "offscreen", "silence_reference", "noise_reference"])
def test_pictures_stay_and_masks_are_empty(store, partners, condition):
    ends = ("vggish_mel",) if condition.endswith("_reference") else ENDS
    paths, card = store
    clips = ClipDataset(paths, card, "test", front_ends=ends, cache=True)
    heard, before = HeardClips(clips, condition, partners), clips[1]
    first, again = heard.item(1, 0, 0), heard.item(1, 0, 0)
    assert torch.equal(first["frames"], before["frames"])
    assert not first["aligned"]
    assert torch.equal(first["masks"] == 255, ~before["annotated"][:, None, None].expand_as(before["masks"]))
    assert not first["masks"][first["annotated"]].any()
    for name in ends:
        assert not torch.equal(first["audio"][name], before["audio"][name])
        assert torch.equal(first["audio"][name], again["audio"][name])
        first["audio"][name].zero_()  # an augmentation may do that; what comes next is whole
        assert torch.equal(heard.item(1, 0, 0)["audio"][name], again["audio"][name])
    assert torch.equal(clips[1]["masks"], before["masks"])


def test_reference_features_are_another_extractor(store, partners):
    clips = ClipDataset(*store, "test", front_ends=("vggish_mel",))
    found = Negatives(clips, partners).audio(clips.clip_ids[0], 5, "silence_reference")["vggish_mel"]
    assert found[:, :, :44].unique().tolist() == pytest.approx([-100])
    assert found[:, :, 44:].unique().tolist() == [0]


def test_clips_without_a_partner_are_left_out(store, partners):
    clips = clips_of(store, masks=False)
    few = dict(list(partners.items())[:2])
    heard = HeardClips(clips, "offscreen", few)
    assert set(heard.clip_ids) == set(few)
    assert len(HeardClips(clips, "silence", few)) == len(clips)
    (batch,) = make_loader(heard, batch=2)
    assert batch.masks is None
    assert batch.aligned.tolist() == [False, False]


def test_the_list_of_partners_is_read_where_it_is_needed(store, tmp_path, monkeypatch):
    """For MS3 it cannot be written without AVSS, which silence and noise do not need."""
    heard = {}
    clips = clips_of(store)

    def predict_run(spec, condition, ensemble, hear):
        heard[condition, ensemble] = len(hear(clips, torch.device("cpu")))

    monkeypatch.setattr(conditions, "predict_run", predict_run)
    spec = SimpleNamespace(paths=Paths("mini", data_root=str(tmp_path)), dataset="s4", features={})
    conditions.predict_conditions(spec, ["silence", "noise_reference"], ensemble=True)
    assert heard == {("silence", True): SPLITS["test"], ("noise_reference", True): SPLITS["test"]}
    with pytest.raises(AvsbenchError, match="no such list of negatives"):
        conditions.predict_conditions(spec, ["offscreen"])


def test_unknown_conditions_and_imported_arrays_are_refused(store, partners):
    clips = clips_of(store)
    with pytest.raises(AvsbenchError, match="unknown condition"):
        HeardClips(clips, "whisper", partners).item(0, 0, 0)
    with pytest.raises(AvsbenchError, match="stand for VGGish's log-mel alone") as error:
        HeardClips(clips, "silence_reference", partners).item(0, 0, 0)
    assert error.value.found == "cavp_mel"
    imported = clips_of(store, arrays={"vggish_mel": "released"})
    with pytest.raises(AvsbenchError, match="negatives of imported sound"):
        HeardClips(imported, "silence", partners)


# features that are made from sound


class Loudness(Deriver):
    """In each place of a frame: how loud its second is, and below that how bright the frame."""

    def derive(self, frames, audio):
        (waves,) = audio.values()
        loud, bright = np.abs(waves).mean(axis=-1), frames.mean(axis=(1, 2, 3))
        rows = np.stack([loud, *[bright] * 6], axis=1).astype(np.float32)
        return np.repeat(rows[:, :, None], 7, axis=2)


@pytest.fixture
def makers():
    setting = Setting("heatmap", "audioclip", 1)
    assert setting.card.front_ends == ["audioclip_wave"]
    return {"heatmap": (setting, Loudness())}


def test_what_is_made_from_sound_is_made_again(store, partners, makers):
    """Of the stored frames and the other sound, by front ends that the clips themselves need not have."""
    clips, loud = clips_of(store), {}
    for condition in ("silence", "noise", "offscreen"):
        heard = HeardClips(clips, condition, partners, makers)
        for number, name in enumerate(heard.clip_ids):
            clip = heard.item(number, 0, 0)
            assert set(clip["audio"]) == set(ENDS)
            found = clip["features"]["heatmap"].numpy()
            np.testing.assert_allclose(found[:, 1, 0], clip["frames"].float().mean(dim=(1, 2, 3)), rtol=1e-5)
            loud[condition, name] = found[:, 0, 0]
    for name, partner in partners.items():
        assert not loud["silence", name].any()
        np.testing.assert_allclose(loud["noise", name], 0.5, atol=0.02)  # uniform in -1..1
        wave = FRONT_ENDS["audioclip_wave"].compute(ClipSound.of(clips.card, clips.sounds(partner), 5))
        np.testing.assert_allclose(loud["offscreen", name], np.abs(wave).mean(axis=-1), rtol=1e-5)


def test_what_makes_it_is_built_once_and_on_the_device(store, tmp_path, monkeypatch, makers):
    built, seen, clips = [], {}, clips_of(store)

    def build(card, options, weights, device, scale, dataset):
        built.append((card.name, device, scale, dataset))
        return makers["heatmap"][1]

    def predict_run(spec, condition, ensemble, hear):
        seen[condition] = set(hear(clips, torch.device("cpu")).item(0, 0, 0)["features"])

    monkeypatch.setattr(conditions, "build", build)
    monkeypatch.setattr(conditions, "predict_run", predict_run)
    features = {"heatmap": makers["heatmap"][0], "image_embedding": Setting("image_embedding", "regions", 1)}
    spec = SimpleNamespace(paths=Paths("mini"), dataset="s4", scale="mini", features=features)
    conditions.predict_conditions(spec, ["silence", "noise"])
    assert seen == {"silence": {"heatmap"}, "noise": {"heatmap"}}
    assert built == [("audioclip", "cpu", "mini", "s4")]


# mixed into training


def test_training_sees_both(store):
    paths, card = store
    write_negatives(card, "train", paths)
    partners = read_partners(paths.negatives("s4", "train"))
    clips = clips_of(store, "train")
    data = MixedClips(clips, partners, percent=50, seed=3)
    assert len(data) == 2 * len(clips)
    batches = list(make_loader(data, batch=4, seed=3, shuffle=True))
    aligned = torch.cat([batch.aligned for batch in batches])
    assert aligned.sum() == len(clips)
    for batch in batches:
        for masks, annotated, own in zip(batch.masks, batch.annotated, batch.aligned, strict=True):
            assert bool(masks[annotated].any()) == bool(own)
    again = list(make_loader(MixedClips(clips, partners, percent=50, seed=3), batch=4, seed=3, shuffle=True))
    for one, other in zip(batches, again, strict=True):
        assert one.clip_ids == other.clip_ids
        assert torch.equal(one.audio["vggish_mel"], other.audio["vggish_mel"])
    rest = list(make_loader(data, batch=4, seed=3, shuffle=True, skip=2))
    assert [batch.clip_ids for batch in rest] == [batch.clip_ids for batch in batches[2:]]


def test_who_has_no_partner_is_silent_instead(store):
    clips = clips_of(store, "train")
    data = MixedClips(clips, {}, percent=100, seed=0)
    quiet = Negatives(clips, {}).audio(clips.clip_ids[0], 5, "silence")["vggish_mel"]
    for number in range(len(data)):
        assert torch.equal(data.item(number, 0, 0)["audio"]["vggish_mel"], quiet)


@given(st.integers(2, 60), st.floats(1, 100), st.integers(0, 5))
def test_the_draw_has_its_shares(clips, percent, seed):
    items = mixed(clips, percent, seed)
    assert len(items) == 2 * clips
    counts = [sum(item // clips == kind for item in items) for kind in range(3)]
    assert counts[0] == int(2 * clips * (1 - percent / 100))
    assert 0 <= counts[1] - int(2 * clips * percent / 200) <= 1
    assert max(counts[1:]) <= clips
    assert sum(counts) == 2 * clips
    negatives = [item for item in items if item >= clips]
    assert len(set(negatives)) == len(negatives)


def test_a_spoilt_category_is_named(store, tmp_path):
    card = store[1]

    class Odd(Reader):
        def table(self):
            return super().table().assign(category="talking_lamp")

    other, _ = store_fakes.build(tmp_path, card, Odd(card), ())
    with pytest.raises(AvsbenchError, match="categories of unknown kind"):
        write_negatives(card, "test", other)


def test_an_epoch_with_negatives_is_twice_as_long(store):
    from avsbench import cards
    from avsbench.engine.data import StoredData
    from avsbench.spec import RunSpec
    from tests.unit.engine_fakes import TinyMethod

    paths, card = store
    write_negatives(card, "train", paths)

    def data(**recipe):
        settings = {"scale": "mini", "dataset": "s4", "variant": "tpavi-r50", "seed": "1", "image_size": 16}
        spec = RunSpec(recipe={"batch": 4, **recipe}, paths=paths, **settings)
        return StoredData(spec, cards.variant("tpavi-r50"), card, TinyMethod(), on_gpu=False)

    plain, mixed_in = data(), data(negatives={"percent": 50})
    assert (plain.steps_per_epoch, mixed_in.steps_per_epoch) == (2, 4)
    assert next(plain.train(0, 0))[0].batch.aligned is None
    steps = [share.batch for (share,) in mixed_in.train(0, 0)]
    assert sum(int((~batch.aligned).sum()) for batch in steps) == 8
    assert [batch.clip_ids for (share,) in mixed_in.train(0, 3) for batch in [share.batch]] == [steps[3].clip_ids]
    assert all(batch.aligned is None for batch in mixed_in.validation())  # the epoch is chosen on positives


def test_negatives_and_features_made_from_sound_do_not_train_together(store, makers):
    from avsbench import cards
    from avsbench.engine.data import StoredData
    from avsbench.spec import RunSpec
    from tests.unit.engine_fakes import TinyMethod

    paths, card = store
    features = {"heatmap": makers["heatmap"][0]}
    settings = {"scale": "mini", "dataset": "s4", "variant": "tpavi-r50", "seed": "1", "image_size": 16}
    spec = RunSpec(recipe={"batch": 4, "negatives": {"percent": 50}}, paths=paths, features=features, **settings)
    with pytest.raises(AvsbenchError, match="negatives, and features that are made from the sound") as error:
        StoredData(spec, cards.variant("tpavi-r50"), card, TinyMethod(), on_gpu=False)
    assert error.value.found == "heatmap"
