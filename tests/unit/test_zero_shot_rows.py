"""Methods that are put together and never trained, and masks without probabilities: how they are stored and shown."""

from pathlib import Path

import numpy as np
import pytest
import torch

from avsbench import cards
from avsbench.contract import Batch, Method
from avsbench.evaluation.predict import predict_clips
from avsbench.evaluation.predictions import PredictionInfo, PredictionReader, PredictionWriter
from avsbench.evaluation.score import read_scores
from avsbench.features.settings import resolve
from avsbench.plan import Run, Skip
from avsbench.report.leaderboard import write_leaderboard
from tests.unit.report_runs import make_run, paths_in, row_of, write
from tests.unit.small_method import CARD, write_method

LABELS = ("trainable: false", "hard: true", "setting: zero-shot")
TRAINED, UNTRAINED, UNTRAINED_TOO = (
    Run("ms3", "tpavi-r50", "0"), Run("ms3", "glued-small", "none"), Run("ms3", "glued-large", "none"),
)  # fmt: skip


@pytest.fixture
def glued(tmp_path, monkeypatch):
    """A zero-shot method with hard masks, among the cards."""
    head, rest = CARD.split("recipes:")
    resources = rest[rest.index("resources:") :]
    variants = head.replace("init: scratch}}", "init: none}}") + "  {name}-large: {{options: {{width: 32}}}}\n"
    write_method(tmp_path / "models", "glued", card=variants + "\n".join(LABELS) + "\n" + resources)
    monkeypatch.setenv("AVSBENCH_MODELS", str(tmp_path / "models"))
    assert cards.variant("glued-small").method.hard
    return paths_in(tmp_path)


def hard_run(paths, run, **values):
    make_run(paths, run, values=values)
    file = Path(paths.scores(run.dataset, run.variant, run.seed))
    write(str(file), file.read_text().replace('"hard": false', '"hard": true'))
    assert read_scores(file)["hard"]


def test_zero_shot_rows_are_ranked_apart(glued):
    make_run(glued, TRAINED, values={"miou": 0.3})
    hard_run(glued, UNTRAINED, miou=0.5)
    hard_run(glued, UNTRAINED_TOO, miou=0.4)
    text = Path(write_leaderboard(runs=[UNTRAINED, UNTRAINED_TOO, TRAINED], paths=glued)).read_text()
    supervised, zero_shot = text.split("### Zero-shot\n")
    assert row_of(supervised, "tpavi-r50")[0] == "1"
    assert "glued" not in supervised
    zero_shot = zero_shot.split("###")[0]
    assert [row_of(zero_shot, name)[0] for name in ("glued-small", "glued-large")] == ["1", "2"]
    assert "none of which was trained for this task" in zero_shot
    assert "tpavi" not in zero_shot


def test_without_zero_shot_rows_there_is_no_section_of_them(glued):
    make_run(glued, TRAINED)
    assert "Zero-shot" not in Path(write_leaderboard(runs=[TRAINED], paths=glued)).read_text()


def test_a_zero_shot_run_without_a_score_stands_in_its_section(glued):
    make_run(glued, TRAINED)
    text = Path(write_leaderboard(runs=[TRAINED], skips=[Skip(UNTRAINED, "no weights")], paths=glued)).read_text()
    assert row_of(text.split("### Zero-shot\n")[1], "glued-small")[3] == "skipped"
    alone = Path(write_leaderboard(runs=[], skips=[Skip(UNTRAINED, "no weights")], paths=glued)).read_text()
    assert alone.count("| variant ") == 2  # the zero-shot table, and the one of reasons


def test_an_option_stands_in_the_note_as_it_counts_on_the_data_set(tmp_path):
    paths = paths_in(tmp_path)
    setting = resolve("boxes", paths)
    run = Run("ms3", "sam4avs-detector-box", "none", features=(setting.stored,))
    make_run(paths, run, features={"boxes": {**setting.record, "stored": setting.stored}})
    note = Path(write_leaderboard(runs=[run], paths=paths)).read_text().partition("boxes by regions (")[2]
    assert "k 2, scales [200.0, 600.0, 2000.0]" in note
    assert "default" not in note.partition(")")[0]


def test_hard_masks_are_marked_in_protocol_b_alone_with_their_own_f_beside(glued):
    make_run(glued, TRAINED, values={"f_at_0.5": 0.61})
    hard_run(glued, UNTRAINED, **{"f_at_0.5": 0.12})
    text = Path(write_leaderboard(runs=[TRAINED, UNTRAINED], paths=glued)).read_text()
    _, table = text.split("### Protocol B, for comparison\n")
    table, after = table.split("\n### ", 1)
    assert row_of(table, "glued-small")[-2:] == ["hard", "12.00"]
    assert row_of(table, "tpavi-r50")[-2:] == ["soft", "61.00"]
    assert "f_at_0.5 (A) ↑" in table
    assert "The mask's own F (A) stands beside it" in table
    assert "hard" not in after.split("###")[0]
    make_run(glued, UNTRAINED)  # soft again: no column, no note
    text = Path(write_leaderboard(runs=[TRAINED, UNTRAINED], paths=glued)).read_text()
    assert "soft" not in text


class Half(Method):
    """The left half sounds, with a probability that a file of hard masks must not keep."""

    trainable = False

    def forward(self, batch):
        return {"shape": tuple(batch.real.shape)}

    def scores(self, output, size):
        scores = torch.full((*output["shape"], 1, *size), -0.1)
        scores[..., : size[1] // 2] = 0.1
        return scores


def test_hard_masks_are_stored_without_probabilities(tmp_path):
    batch = Batch(torch.zeros(1, 2, 3, 8, 8, dtype=torch.uint8), torch.ones(1, 2, dtype=torch.bool), ["a"])
    with PredictionWriter(tmp_path / "p.h5", PredictionInfo("s4", "v", "0", "positive", "binary", 1, True)) as writer:
        predict_clips(Half(), [batch], writer)
    with PredictionReader(tmp_path / "p.h5") as reader:
        level, mask = reader.binary("common", "a")
        assert reader.info.hard
    expected = np.zeros((2, 8, 8), bool)
    expected[..., :4] = True
    assert np.array_equal(mask, expected)
    assert np.array_equal(level, np.where(expected, 255, 1))


def test_a_file_that_fills_two_roles_is_named_once(glued):
    """AudioCLIP's file holds a visual and an audio tower."""
    run = Run("s4", "aclp-fpn", "0")
    make_run(glued, run)
    assert (
        row_of(Path(write_leaderboard(runs=[run], paths=glued)).read_text(), "aclp-fpn")[6] == "stand-ins for audioclip"
    )


@pytest.mark.parametrize(("scale", "start"), [("mini", "stand-in for audioclip"), ("full", "audioclip")])
def test_what_only_features_were_derived_with_is_a_stand_in_at_mini(tmp_path, scale, start):
    paths, run = paths_in(tmp_path, scale), Run("s4", "sam4avs-point-local", "none")
    make_run(paths, run, encoders={})
    assert row_of(Path(write_leaderboard(runs=[run], paths=paths)).read_text(), run.variant)[6] == start
