"""Source digests: code counts, words do not."""

import pytest

from avsbench import cards, digest
from avsbench.features import FEATURES, generators


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A tiny package that the digest takes for ours: train -> loss, report -> table."""
    package = tmp_path / "avsbench"
    for name, text in {
        "__init__.py": "",
        "engine/__init__.py": "",
        "engine/train.py": "from avsbench.nn import loss\n\ndef train():\n    return loss.loss(1)\n",
        "nn/__init__.py": "",
        "nn/loss.py": '"""A loss."""\n\ndef loss(x):\n    """Square."""\n    return x * x  # squared\n',
        "report/__init__.py": "",
        "report/leaderboard.py": "def write():\n    return 'table'\n",
        "report/table.jinja": "| a | b |",
        "report/web/style.css": "main { color: black }",
    }.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(digest.cards, "PACKAGE", package)

    def stages():
        forget()
        return digest.stage("train"), digest.stage("report")

    yield package, stages
    forget()


def forget():
    for cached in (digest.stage, digest._parsed, digest._imports, digest._file):
        cached.cache_clear()


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_an_edited_loss_changes_training_alone(project):
    package, stages = project
    train, report = stages()
    edit(package / "nn/loss.py", "x * x", "x * x * x")
    assert stages()[0] != train
    assert stages()[1] == report


def test_comments_and_docstrings_do_not_count(project):
    package, stages = project
    before = stages()
    edit(package / "nn/loss.py", "# squared", "# the square of x")
    edit(package / "nn/loss.py", "Square.", "The square.")
    edit(package / "nn/loss.py", "A loss.", "A fine loss.")
    edit(package / "engine/train.py", "\n\ndef", "\n\n\n\ndef")
    assert stages() == before


@pytest.mark.parametrize(("file", "old", "new"), [("table.jinja", "| b |", "| c |"), ("web/style.css", "black", "red")])
def test_a_template_or_a_style_changes_the_report_alone(project, file, old, new):
    package, stages = project
    train, report = stages()
    edit(package / "report" / file, old, new)
    assert stages()[0] == train
    assert stages()[1] != report


def test_imports_inside_functions_count(project):
    package, stages = project
    (package / "nn/late.py").write_text("VALUE = 1\n")
    edit(package / "engine/train.py", "    return", "    from avsbench.nn.late import VALUE\n    return VALUE +")
    before = stages()[0]
    edit(package / "nn/late.py", "1", "2")
    assert stages()[0] != before


def test_a_stage_without_its_module_is_an_error(project):
    package, stages = project
    (package / "report/leaderboard.py").unlink()
    with pytest.raises(LookupError, match=r"avsbench\.report\.leaderboard"):
        stages()


def test_every_real_stage_has_its_modules():
    for name in digest.STAGES:
        assert len(digest.stage(name)) == 16


@pytest.mark.parametrize("stage", ["train", "official", "predict", "conditions", "score"])
def test_no_page_and_no_look_at_the_work_counts_for_numbers(stage):
    modules = digest.made()[digest.stage(stage, None if stage in ("official", "score") else "tpavi")]
    rooms = {module.split(".")[1] for module in modules if module.startswith("avsbench.")}
    assert not rooms & {"report", "reruns", "running", "workflow", "cli"}
    trains = stage in ("train", "official")
    assert ("avsbench.evaluation.predictions" in modules) != trains, "training knows nothing of stored predictions"


def test_the_method_folder_counts():
    assert digest.stage("train", "tpavi") != digest.stage("train", "saliency")


def test_what_plans_estimates_room_or_reports_on_a_shard_reruns_nothing(monkeypatch):
    parts = {card.module for name in FEATURES for card in generators(name).values() if card.module}
    read = set()
    monkeypatch.setattr(digest, "source", lambda path: str(read.add(path.relative_to(cards.PROJECT).as_posix())))
    digest.stage.cache_clear()
    for name in digest.STAGES:
        digest.stage(name, parts=tuple(sorted(parts)) if name == "features" else ())
    digest.stage.cache_clear()
    assert {f"{part.replace('.', '/')}.py" for part in parts} - read <= {"avsbench/features/semantic_sam.py"}
    assert "avsbench/store/features.py" in read
    words = {"avsbench/datasets/space.py", "avsbench/store/feature_report.py", "avsbench/features/settings.py"}
    planning = {file.relative_to(cards.PROJECT).as_posix() for file in cards.PACKAGE.glob("plan*.py")}
    assert len(planning) >= 5
    assert not read & (words | planning)
