"""The profile for clusters keeps in step with the rules, without a scheduler."""

import pytest
import yaml

from avsbench import cards
from avsbench.config import check_config
from avsbench.plan import Plan
from tests.workflow.test_scale import JOBS

PROFILE = cards.PROJECT / "workflow/profiles/slurm/config.yaml"


@pytest.fixture(scope="module")
def profile():
    return yaml.safe_load(PROFILE.read_text())


def test_every_rule_of_shards_is_submitted_as_an_array(profile):
    named = {rule.strip() for rule in profile["slurm-array-jobs"].split(",")}
    variants = cards.variants().values()
    runs = {d: [v.name for v in variants if d in v.datasets] for d in cards.dataset_cards()}
    plan = Plan(check_config({"scale": "full", "runs": {d: names for d, names in runs.items() if names}, "seeds": [0]}))
    for dataset, groups in plan.front_end_groups.items():
        assert {f"audio_{dataset}_{number}" for number in range(1, len(groups) + 1)} <= named
    assert {"extract", "native", *(f"audio_{dataset}_1" for dataset in runs)} <= named
    # Snakemake tries each value of a profile as a file name.
    assert len(profile["slurm-array-jobs"]) < 255
    # Array tasks are not warned before their limit, and all get the resources of the first.
    assert not any(name.startswith(("train", "predict")) for name in named)


def test_no_limit_hides_ready_shards(profile):
    """The plugin waits for ever when it is shown less than half of the ready jobs of an array."""
    assert profile["jobs"] >= JOBS
    assert int(profile["max-jobs-per-timespan"].split("/")[0]) >= JOBS
    assert "resources" not in profile  # a GPU limit is the scheduler's


def test_what_a_default_run_compares_is_compared_on_a_cluster(profile):
    default = yaml.safe_load((PROFILE.parents[1] / "default/config.yaml").read_text())
    for key in set(default) - {"resources"}:
        assert profile[key] == default[key], key


def test_blanks_left_empty_plan(project):
    done = project.snakemake("-n", "--workflow-profile", "workflow/profiles/slurm")
    text = done.stdout + done.stderr
    assert "slurm_extra=--signal=TERM@300" in text
    assert "Job stats" in text
