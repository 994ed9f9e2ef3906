"""What others submitted is an input of the leaderboard, and is scored again when its predictions or the code change."""

import shutil

from avsbench.digest import stage


def submission(project, name, code):
    """What `avsbench submit` leaves, as far as planning looks at it."""
    folder = project.folder / "results" / "mini" / "s4" / "external" / name
    files = [folder / "predictions" / "positive.h5", folder / "scores" / "positive.frames.parquet"]
    files += [folder / "scores" / "positive.draws.parquet", folder / "scores" / "positive.json", folder / "run.json"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'{{"code": "{code}"}}')
    return folder


def test_the_page_is_written_again_when_a_submission_comes_changes_or_goes(project):
    config = "scale: mini\nruns: {s4: [saliency]}\nseeds: [0]\nroots: {}\n"
    (project.folder / "config" / "config.yaml").write_text(config)
    project.pretend_complete()
    page = {"leaderboard": 1, "figures": 1, "all": 1, "total": 3}
    folder = submission(project, "mynet", stage("score"))
    assert project.planned() == page
    project.snakemake("--cores", "2", "--touch", "--forceall")
    assert "leaderboard" not in project.planned()
    (folder / "predictions" / "positive.h5").write_text("others")
    assert project.planned() == {**page, "score_external": 1, "total": 4}
    shutil.rmtree(folder)
    assert project.planned() == page
    submission(project, "older", "0123456789abcdef")  # scored by other code than ours
    assert project.planned() == {**page, "score_external": 1, "total": 4}
