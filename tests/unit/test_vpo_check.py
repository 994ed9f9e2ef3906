"""The checks of a set in VPO's layout find what was tampered with; the verbs build and check."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image

from avsbench import cards, cli, digest
from avsbench.config import load_config
from avsbench.datasets import acquire
from avsbench.datasets.vpo_build import Kind, Sources, check_set
from avsbench.datasets.vpo_build.layout import AUDIOS, place_of_image, place_of_mask
from avsbench.errors import AvsbenchError
from avsbench.paths import Paths
from avsbench.plan import Plan

from .vpo_built import built, own  # noqa: F401 - fixtures

# ruff: noqa: F811


@pytest.mark.parametrize("kind", Kind)
def test_a_built_set_is_sound(built, kind):
    found = check_set(built.root(kind), kind, workers=1)
    assert found.rows == sum(built.manifests[kind]["rows"].values())


def tampered(table, column, value, row=0):
    table[column] = table[column].astype(object)
    table.loc[row, column] = value
    return table


def in_both(table, column):
    """A training row has the clip or image of a test row."""
    first, last = table.index[table["split"] == "train"][0], table.index[table["split"] == "val"][-1]
    return tampered(table, column, table.loc[last, column], first)


def second_row_of_an_image(table):
    return table.index[table["img_Id"].duplicated()][0]


TABLES = {
    "number": (lambda t: tampered(t, "cateId", 44), "with number 44"),
    "class": (lambda t: tampered(t, "cateName", "guitar"), "class 'guitar'"),
    "position": (lambda t: tampered(t, "audio_pos", 1.001), r"audio_pos 1\.001 is outside"),
    "no position": (lambda t: tampered(t, "audio_pos", "left"), "not a table of VPO"),
    "split": (lambda t: tampered(t, "split", "holdout"), "unknown split 'holdout'"),
    "clip in both": (lambda t: in_both(t, "vgg_file"), r"clip .*: in training and test"),
    "image in both": (lambda t: in_both(t, "img_Id"), r"image \d+: in training and test"),
    "both values": (lambda t: tampered(t, "multi_instance", 1, second_row_of_an_image(t)), "both values of"),
    "multi": (lambda t: tampered(t, "multi_instance", 3), "multi_instance 3"),
    "twice": (lambda t: pd.concat([t, t[:1]]), "two rows"),
    "no rows": (lambda t: t[:0], "the table has no rows"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_tampered_table_fails(own, name):
    root, table = own(Kind.MSMI)
    change, message = TABLES[name]
    change(table).to_csv(root / Kind.MSMI.csv, index=False)
    with pytest.raises(AvsbenchError, match=message):
        check_set(root, Kind.MSMI)


def without_class(root, row):
    mask = np.asarray(Image.open(root / place_of_mask(Kind.SS, row))).copy()
    Image.fromarray(np.where(mask == row["cateId"], 0, mask)).save(root / place_of_mask(Kind.SS, row))


def with_stray(root, row):
    mask = np.asarray(Image.open(root / place_of_mask(Kind.SS, row))).copy()
    mask[0, 0] = 91
    Image.fromarray(mask).save(root / place_of_mask(Kind.SS, row))


def smaller(root, row):
    path = root / place_of_mask(Kind.SS, row)
    Image.open(path).resize((20, 20), Image.Resampling.NEAREST).save(path)


def coloured(root, row):
    Image.open(root / place_of_mask(Kind.SS, row)).convert("RGB").save(root / place_of_mask(Kind.SS, row))


def wav(root, row):
    return root / AUDIOS / f"{row['vgg_file']}.wav"


FILES = {
    "no pixel": (without_class, "no pixel of class"),
    "stray": (with_stray, "number 91, which no row names"),
    "size": (smaller, r"\(20, 20\) pixels, the picture has"),
    "mode": (coloured, "not a mask of numbers"),
    "mask": (lambda root, row: (root / place_of_mask(Kind.SS, row)).unlink(), r"\.png: no such"),
    "picture": (lambda root, row: (root / place_of_image(Kind.SS, row)).unlink(), r"\.jpg: missing"),
    "sound": (lambda root, row: wav(root, row).unlink(), r"\.wav: missing"),
    "broken": (lambda root, row: wav(root, row).write_bytes(b"RIFF"), r"\.wav: unreadable"),
    "stereo": (lambda root, row: soundfile.write(wav(root, row), np.ones((9, 2)) / 2, 16000), "2 channels, not 1"),
    "empty": (lambda root, row: soundfile.write(wav(root, row), np.ones(0), 16000), "no samples"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_tampered_file_fails(own, name):
    root, table = own(Kind.SS)
    row = table.iloc[3].to_dict()
    change, message = FILES[name]
    change(root, row)
    with pytest.raises(AvsbenchError, match=message):
        check_set(root, Kind.SS)


def test_many_faults_are_counted_and_ten_are_shown(own):
    root, table = own(Kind.SS)
    table["audio_pos"] = 2.0
    table.to_csv(root / Kind.SS.csv, index=False)
    with pytest.raises(AvsbenchError) as caught:
        check_set(root, Kind.SS)
    assert f"{len(table)} faults" in str(caught.value)
    assert str(caught.value).count("is outside") == 10
    assert f"and {len(table) - 10} more" in str(caught.value)


def test_a_table_of_another_kind_names_what_is_missing(own):
    root, table = own(Kind.MSMI)
    table.drop(columns="multi_instance").to_csv(root / Kind.MSMI.csv, index=False)
    with pytest.raises(AvsbenchError, match=r"columns are missing(.|\n)*multi_instance"):
        check_set(root, Kind.MSMI)
    (root / Kind.MSMI.csv).unlink()
    with pytest.raises(AvsbenchError, match="no such table"):
        check_set(root, Kind.MSMI)
    with pytest.raises(AvsbenchError, match="not a VPO data set"):
        Kind.of("s4")


# configuration, verbs, names


def test_the_folders_must_be_configured(tmp_path):
    with pytest.raises(AvsbenchError, match=r"coco and vggsound is to be found(.|\n)*vpo_sources"):
        Sources.of({})
    assert Sources.of({"coco": "/c"}, ("coco",)).coco == Path("/c")
    sources = Sources.of({"coco": "~/c", "vggsound": "/v", "seed": 3, "min_area": 0.1, "cap_factor": 0.001})
    assert sources.coco == Path.home() / "c"
    assert (sources.seed, sources.area.smallest, sources.area.largest) == (3, 0.1, 0.9)
    assert set(sources.caps("single")["val"].values()) == {1}
    text = {"seed": "3", "min_area": "0.1", "coco": "7"}  # as `snakemake --config` hands it over
    config = load_config("config/config.yaml", {"vpo_sources": text})
    assert config["vpo_sources"] == {**text, "seed": 3, "min_area": 0.1}
    with pytest.raises(AvsbenchError, match=r"unknown key 'cocoa'.*vpo_sources"):
        load_config("config/config.yaml", {"vpo_sources": {"cocoa": "/c"}})


@pytest.mark.parametrize("scale", ["full", "smoke"])
def test_built_sets_are_acquired_from_where_the_rules_build_them(scale):
    config = {"scale": scale, "vpo_sources": {"coco": "/c", "vggsound": "/v"}, "roots": {"vpo_ms_rebuilt": "/b"}}
    plan = Plan(load_config("config/config.yaml", config))
    assert plan.built_sets == ["vpo_ms_rebuilt", "vpo_msmi_rebuilt", "vpo_ss_rebuilt"]
    assert plan.built("vpo_ss_rebuilt") == [f"{plan.root('vpo_ss_rebuilt')}/manifest.json"]
    assert "full" in plan.root("vpo_ss_rebuilt"), "smoke takes its clips from what full builds"
    assert (plan.root("vpo_ms_rebuilt"), plan.built("vpo_ms_rebuilt")) == ("/b", [])
    assert (plan.root("s4"), plan.built("s4")) == (None, [])
    assert json.loads(plan.vpo_sources("coco")) == {"coco": "/c"}
    assert plan.rendered_sources == []


def test_built_and_released_sets_share_no_name():
    built = [name for name, card in cards.dataset_cards().items() if card.construction]
    for name in built:
        card = cards.dataset(name)
        assert name.endswith("_rebuilt")
        assert "rebuilt" in card.title
        assert not card.counts_known
        assert card.classes == cards.dataset(name.removesuffix("_rebuilt")).classes


def test_the_table_of_classes_is_part_of_what_stages_depend_on(monkeypatch, tmp_path):
    before = digest.stage("vpo_candidates")
    monkeypatch.setitem(digest.DATA_FILES, "vpo_candidates", [])
    digest.stage.cache_clear()
    assert digest.stage("vpo_candidates") != before
    digest.stage.cache_clear()


def test_verbs_build_a_set_that_acquire_takes(tmp_path, capsys):
    where = ["--scale", "mini", "--data-root", str(tmp_path / "data")]
    for verb in (["vpo-mini-sources"], ["vpo-candidates"], ["vpo-audio-pool"]):
        assert cli.main([*verb, *where]) == 0
    for dataset in ("vpo_ms_rebuilt", "vpo_msmi_rebuilt"):
        assert cli.main(["vpo-build", "--dataset", dataset, *where]) == 0
    assert cli.main(["vpo-build", "--dataset", "s4", *where]) == 2
    paths, card = Paths("mini", str(tmp_path / "data")), cards.dataset("vpo_msmi_rebuilt")
    content = acquire(card, scale="mini", root=paths.vpo_built(card.name), out=paths)
    assert content["clips"] == card.splits["mini"]
    assert Path(paths.official(card.name)).is_symlink()
    assert cli.main(["check-vpo", "--dataset", card.name, *where]) == 0
    assert "agree" in capsys.readouterr().out
    next(Path(paths.official(card.name), "VPO/VPO-MSMI/mask").iterdir()).unlink()
    assert cli.main(["check-vpo", "--dataset", card.name, *where]) == 2
    assert len(Path(paths.vpo_dropped_audio()).read_text().splitlines()) > 3


def test_a_set_is_not_built_before_its_candidates(tmp_path, caplog):
    assert cli.main(["vpo-build", "--dataset", "vpo_ss_rebuilt", "--scale", "mini", "--data-root", str(tmp_path)]) == 2
    sources = '{"coco": "/nowhere"}'
    assert cli.main(["vpo-candidates", "--sources", sources, "--scale", "full", "--data-root", str(tmp_path)]) == 2
