"""Tables of the leaderboard for papers and spreadsheets."""

import io
import re
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest
import yaml

from avsbench.cli import main
from avsbench.evaluation.submissions import Source
from avsbench.paths import EXTERNAL, Scored
from avsbench.plan import Run
from avsbench.report.formats import csv, latex, markdown
from avsbench.report.tables import Table
from tests.unit.report_runs import make_run, paths_in, write

TABLE = Table(
    "A title",
    ["variant", ">miou (A) ↑", ">clips"],
    [["a_b & c", "50.00 ± 1.20", "3"], ["d", "–", "3"]],
    ["In `percent`."],
)


def test_markdown_has_caption_and_notes():
    lines = markdown(TABLE, "MS3").splitlines()
    assert lines[0] == "**MS3**"
    assert lines[-1] == "- In `percent`."
    assert any(line.startswith("| a_b & c ") and "50.00 ± 1.20" in line for line in lines)


def test_csv_is_read_back_with_missing_numbers_empty():
    frame = pd.read_csv(io.StringIO(csv(TABLE, "MS3, mini")))
    assert frame.columns.tolist() == ["table", "variant", "miou (A) ↑", "clips"]
    assert frame["table"].tolist() == ["MS3, mini"] * 2
    assert frame["miou (A) ↑"].isna().tolist() == [False, True]
    assert frame["clips"].tolist() == [3, 3]


def test_latex_escapes_names_and_sets_numbers_to_the_right():
    text = latex(TABLE, "MS3 & 100 %")
    assert r"a\_b \& c & 50.00 $\pm$ 1.20 & 3 \\" in text
    assert r"miou (A) $\uparrow$" in text
    assert r"\begin{tabular}{lrr}" in text
    assert r"\caption{MS3 \& 100 \%}" in text
    assert text.startswith("% In percent.\n")
    assert r"\toprule" in text
    assert text.isascii()


def test_marks_of_markdown_go_and_captions_are_escaped():
    table = Table("", ["record", "code"], [["[run.json](mini/ms3/a_b/0/run.json)", "`0123`"]])
    assert csv(table, "").splitlines()[1] == ",mini/ms3/a_b/0/run.json,0123"
    text = latex(table, r"a~b^c\d_e · `Δ`")
    assert r"mini/ms3/a\_b/0/run.json & 0123 \\" in text
    assert r"\caption{a\textasciitilde{}b\textasciicircum{}c\textbackslash{}d\_e $\cdot$ $\Delta$}" in text


@pytest.fixture
def verb(tmp_path, monkeypatch):
    """The verb on two scored runs of two data sets, one of them heard under silence, and a submission to a third."""
    paths = paths_in(tmp_path)
    for run in (Run("ms3", "tpavi-r50", "0"), Run("s4", "tpavi-r50", "0")):
        make_run(paths, run, values={"miou": 0.25, "fpr": 0.1})
    scores = Path(paths.scores("s4", "tpavi-r50", "0"))
    write(paths.scores("s4", "tpavi-r50", "0", "silence"), scores.read_text())
    write(paths.predictions("s4", "tpavi-r50", "0", "silence"), "")
    other = Scored(paths.external("vpo_ss", "mynet"))
    write(other.scores, Path(scores).read_text())
    source = Source(name="mynet", made_by="A. & B.", paper="their paper")
    about = {"dataset": "vpo_ss", "scale": "mini", "variant": EXTERNAL, "seed": "mynet", "image_size": 64, "code": "0"}
    about |= {"versions": {}, "parameters": {}, "clips_expected": 3, "finished": "-"}
    write(other.record, about | {"source": asdict(source)})
    config = {"scale": "mini", "runs": {"s4": ["tpavi-r50"], "ms3": ["tpavi-r50"]}, "seeds": [0]}
    config |= {"data_root": paths.data_root, "results_root": paths.results_root, "weights_root": paths.weights_root}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    return lambda *options: main(["table", "--config", str(tmp_path / "config.yaml"), *options])


def test_the_verb_prints_the_ranked_table_of_each_data_set(verb, capsys):
    assert verb() == 0
    text = capsys.readouterr().out
    assert text.count("tpavi-r50") == 2
    assert text.count("25.00") == 2


def test_without_a_complete_run_the_verb_says_how_to_get_one(verb, capsys):
    assert verb("--study", "maskige") == 2
    assert "snakemake --cores 8 --config study=maskige" in capsys.readouterr().err


def test_every_table_of_the_page_is_sound_latex(verb, capsys):
    assert verb("--table", "all", "--format", "latex") == 0
    text = capsys.readouterr().out
    assert "mynet (external)" in text
    assert "components" in text
    for environment in ("table", "tabular"):
        assert text.count(rf"\begin{{{environment}}}") == text.count(rf"\end{{{environment}}}") >= 15
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    assert not set("`~^") & set("".join(lines))
    for line in lines:
        if line.startswith(r"\begin{tabular}"):
            columns = len(re.search(r"\{([lr]+)\}$", line)[1])
        elif line.endswith(r"\\"):
            assert len(re.findall(r"(?<!\\)&", line)) == columns - 1, line


def test_what_there_is(verb, capsys):
    assert verb("--list", "--dataset", "s4") == 0
    names = capsys.readouterr().out.splitlines()
    assert names[0] == "ranking"
    assert "Parameters and cost" in names
    assert any("(S4): components" in name for name in names)
    assert not any("MS3" in name for name in names)


def test_a_data_set_that_only_submissions_have(verb, capsys):
    assert verb("--dataset", "vpo_ss", "--format", "csv") == 0
    assert ",1,mynet (external),mini," in capsys.readouterr().out
    assert verb("--dataset", "vpo_ss", "--table", "Parameters and cost") == 2
    assert "vpo_ss: no table Parameters and cost" in capsys.readouterr().err


def test_tables_of_a_study(verb, capsys):
    assert verb("--study", "maskige", "--table", "Runs without a score") == 0
    assert "combo-r50" in capsys.readouterr().out


def test_one_table_of_one_data_set(verb, capsys):
    assert verb("--dataset", "ms3", "--table", "Protocol B, for comparison", "--format", "latex") == 0
    text = capsys.readouterr().out
    assert text.count(r"\begin{table}") == 1
    assert r"fscore\_b1 (B)" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [(("--table", "Protocol Z"), "Protocol Z"), (("--dataset", "avss"), "avss"), (("--dataset", "s5"), "s4")],
)
def test_what_does_not_exist_is_named(verb, capsys, options, message):
    assert verb(*options) == 2
    assert message in capsys.readouterr().err
