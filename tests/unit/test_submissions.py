"""Rows that others made: declared, kept among the results, marked on the leaderboard, and removed."""

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest

from avsbench import cards
from avsbench.cli import main
from avsbench.errors import AvsbenchError
from avsbench.evaluation.external import score_again, score_external
from avsbench.evaluation.external_read import Form
from avsbench.evaluation.score import read_scores
from avsbench.evaluation.submissions import Source, read_submission, submit, withdraw
from avsbench.paths import EXTERNAL, Scored
from avsbench.plan import Plan, Run
from avsbench.report.leaderboard import write_leaderboard
from avsbench.workflow import refresh_submissions
from tests.unit.external_fakes import build, truth, write
from tests.unit.report_runs import make_run, paths_in, row_of
from tests.unit.store_fakes import leftovers

DECLARED = {"made_by": "A. Reader", "url": "https://example.org/net", "selected_on": "test", "note": "an ensemble of 3"}
OURS = Run("s4", "tpavi-r50", "0")


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """The store of S4, and perfect predictions of it, scored."""
    root = tmp_path_factory.mktemp("s4")
    paths, card = build(root, "s4")
    return paths, card, score_external(write(root / "p", truth(paths, card)), card=card, paths=paths, code="0123").files


@pytest.fixture
def house(scored, tmp_path):
    """Paths with results of their own, and the scored predictions."""
    return dataclasses.replace(scored[0], results_root=str(tmp_path / "results")), scored[2]


def add(house, name="mynet", **declared) -> Run:
    submit(house[1], house[0], Source(name=name, **{**DECLARED, **declared}))
    return Run("s4", EXTERNAL, name)


def render(house, runs=(), submissions=(), **options) -> str:
    return Path(write_leaderboard(runs=runs, submissions=submissions, paths=house[0], **options)).read_text()


def test_a_row_beside_ours_with_its_source(house):
    make_run(house[0], OURS, values={"miou": 0.5})
    text = render(house, [OURS], [add(house)])
    assert row_of(text, "mynet (external)")[:5] == ["1", "mynet (external)", "mini", "100.00", "100.00 … 100.00"]
    assert row_of(text, "mynet (external)")[5:] == ["100.00", "–", "external", "test", "4 of 4"]
    assert row_of(text, "tpavi-r50")[0] == "2"
    note = next(line for line in text.splitlines() if "External rows" in line)
    assert "mynet (external): made by A. Reader (https://example.org/net); an ensemble of 3." in note
    assert "not checked" in note
    assert "1 of 1 planned runs are complete" in text
    assert "docs/protocols.md" in text
    soft, hard = (row_of(text.split("### Protocol B")[1], name) for name in ("tpavi-r50", "mynet (external)"))
    assert (soft[-2], hard[-2]) == ("soft", "hard")
    published = next(line for line in text.splitlines() if "Clips per call" in line)
    assert published.endswith("published F: tpavi-r50 4.")
    assert "mynet" not in text.split("### Parameters and cost")[1].split("###")[0]
    assert "(mini/s4/external/mynet/run.json)" in row_of(text.split("### Runs")[1], "mynet (external)")[-1]


def test_the_parquet_has_the_source(house):
    make_run(house[0], OURS)
    render(house, [OURS], [add(house)])
    table = pd.read_parquet(house[0].leaderboard("parquet"))
    of = table.groupby("variant").first()
    assert of.loc[EXTERNAL, "seed"] == "mynet"
    assert of.loc[EXTERNAL, "source"].startswith("made by A. Reader (https://example.org/net)")
    assert pd.isna(of.loc["tpavi-r50", "source"])
    assert pd.isna(of.loc[EXTERNAL, "parameters"])
    assert of.loc["tpavi-r50", "parameters"] == 2_500_000
    assert of.loc[EXTERNAL, "hard"]


def test_alone_zero_shot_and_on_a_data_set_that_the_configuration_lacks(house):
    text = render(house, [], [add(house, setting="zero-shot")])
    assert row_of(text.split("### Zero-shot\n")[1], "mynet (external)")[0] == "1"
    assert "Parameters and cost" not in text
    assert "0 of 0 planned runs" in text


def test_never_beside_published_numbers_as_if_it_were_ours(scored, tmp_path):
    paths = dataclasses.replace(scored[0], results_root=str(tmp_path / "results"))
    run = add((paths, scored[2]))
    full = paths_in(tmp_path, "full")
    record = Path(Scored(paths.external("s4", "mynet")).record)
    target = Path(full.external("s4", "mynet"))
    target.parent.mkdir(parents=True)
    record.write_text(record.read_text().replace('"scale": "mini"', '"scale": "full"'))
    record.parent.rename(target)
    make_run(full, OURS)
    text = Path(write_leaderboard(runs=[OURS], submissions=[run], paths=full)).read_text()
    measured = text.split("### Measured beside published")[1].split("###")[0]
    assert "tpavi-r50" in measured
    assert "mynet" not in measured


def test_resized_frames_are_said(scored, tmp_path):
    paths, card, _ = scored
    paths = dataclasses.replace(paths, results_root=str(tmp_path / "results"))
    small = {clip: frames[:, ::2, ::2] for clip, frames in truth(paths, card).items()}
    done = score_external(write(tmp_path / "p", small), card=card, paths=paths, form=Form(resize=True))
    house = paths, done.files
    assert "20 frames resized here" in render(house, [], [add(house)])


def test_replaced_listed_and_withdrawn(house):
    paths = house[0]
    add(house)
    add(house, note="a second try")
    assert read_submission(paths, "s4", "mynet")[1].note == "a second try"
    add(house, name="other")
    plan = Plan({"scale": "mini", "runs": {"s4": ["saliency"]}, "seeds": [0], "results_root": paths.results_root})
    assert plan.submissions == [Run("s4", EXTERNAL, name) for name in ("mynet", "other")]
    assert [str(run) for run in plan.submissions] == ["mynet (external) on s4", "other (external) on s4"]
    withdraw(paths, "s4", "mynet")
    assert paths.submissions("s4") == ["other"]
    assert not leftovers(Path(paths.results_root))
    with pytest.raises(AvsbenchError, match="no submission 'mynet' to s4"):
        withdraw(paths, "s4", "mynet")
    with pytest.raises(AvsbenchError, match="no submission"):
        withdraw(paths, "s4", "../s4/external/other")


@pytest.mark.parametrize(
    ("declared", "why"),
    [
        ({"name": "../up"}, "cannot name a submission"),
        ({"name": "official"}, "cannot name a submission"),
        ({"name": "7"}, "cannot name a submission"),
        ({"made_by": " "}, "the source is not declared"),
        ({"url": ""}, "the source is not declared"),
        ({"url": "javascript:alert(1)"}, "no address"),
        ({"setting": "few-shot"}, "unknown setting"),
        ({"selected_on": "luck"}, "unknown selected_on"),
    ],
)
def test_what_must_be_declared(declared, why):
    with pytest.raises(AvsbenchError, match=why):
        Source(**{"name": "mynet", **DECLARED, **declared})
    assert str(Source(name="x", made_by="B", paper="B 2025")) == "made by B (B 2025)"


def test_a_damaged_submission_is_named_and_a_failed_row_of_a_partial_page(house):
    run = add(house)
    record = Path(Scored(house[0].external("s4", "mynet")).record)
    for content in ("{", json.dumps({**json.loads(record.read_text()), "source": {"name": "x"}})):
        record.write_text(content)
        with pytest.raises(AvsbenchError, match=r"external/mynet/run\.json"):
            render(house, [], [run])
        text = render(house, [], [run], partial=True)
        assert row_of(text.split("### Runs without a score")[1], "mynet (external)")[2] == "failed"


def test_scored_again_when_the_code_that_scores_has_changed(house):
    paths, _ = house
    add(house)
    files = Scored(paths.external("s4", "mynet"))
    before = read_scores(files.scores)
    plan = Plan({"scale": "mini", "runs": {}, "seeds": [0], "results_root": paths.results_root})
    assert Path(files.predictions).stat().st_mtime_ns <= Path(files.scores).stat().st_mtime_ns
    refresh_submissions(plan)  # another code than "0123"
    assert Path(files.predictions).stat().st_mtime_ns > Path(files.scores).stat().st_mtime_ns
    Path(files.scores).unlink()
    score_again(paths, "s4", "mynet", "4567")
    assert read_scores(files.scores) == before
    record, source = read_submission(paths, "s4", "mynet")
    assert (record["code"], source.made_by) == ("4567", "A. Reader")


def test_the_verb_submits_and_removes(scored, tmp_path, capsys):
    paths, card, _ = scored
    folder = write(tmp_path / "p", truth(paths, card))
    options = ["--dataset", "s4", "--scale", "mini", "--data-root", paths.data_root]
    options += ["--results-root", str(tmp_path / "results")]
    declared = ["--made-by", "A. Reader", "--paper", "Reader 2026"]
    submitted = ["submit", "--predictions", str(folder), *options, *declared]
    assert main([*submitted, "--name", "mynet"]) == 0
    assert "external/mynet" in capsys.readouterr().out
    target = Scored(str(tmp_path / "results/mini/s4/external/mynet"))
    assert json.loads(Path(target.record).read_text())["source"]["paper"] == "Reader 2026"
    assert main(["score", "--variant", EXTERNAL, "--seed", "mynet", *options]) == 0
    assert main([*submitted, "--name", "tpavi-r50"]) == 2
    assert main(["submit", "--predictions", str(folder), "--name", "x", *options]) == 2
    assert main(["submit", *options]) == 2
    assert main(["submit", "--remove", "mynet", *options]) == 0
    assert not Path(target.folder).exists()
    make_run(dataclasses.replace(paths, results_root=str(tmp_path / "results")), OURS)
    with pytest.raises(AvsbenchError, match="the folder of a run of ours"):
        score_external(folder, card=card, paths=paths, out=tmp_path / "results/mini/s4/tpavi-r50/0")


def test_no_variant_is_called_as_submissions_are():
    assert EXTERNAL not in cards.variants()
