"""The rules that build VPO-style sets: planned where a target needs them, and nowhere else."""

import json

SETS = ("vpo_ss_rebuilt", "vpo_ms_rebuilt", "vpo_msmi_rebuilt")


def test_a_target_plans_its_own_chain(project):
    jobs = project.planned("--", "data/mini/vpo_msmi_rebuilt/index/test.parquet")
    chain = {"vpo_mini_sources", "vpo_candidates", "vpo_audio_pool", "vpo_ms", "vpo_msmi", "acquire", "index"}
    assert {name: jobs[name] for name in chain} == dict.fromkeys(chain, 1)
    assert "vpo_ss" not in jobs
    every = project.planned("--", *(f"data/mini/{name}/index/train.parquet" for name in SETS))
    assert sum(count for name, count in every.items() if name.startswith("vpo_")) == 6


def test_released_sources_are_taken_from_the_configuration(project):
    config = json.dumps({"coco": "/c", "vggsound": "/v"})
    options = ("--config", "scale=full", f"vpo_sources={config}")
    jobs = project.planned(*options, "--", "data/full/vpo_ss_rebuilt/acquired.json")
    assert jobs == {"vpo_candidates": 1, "vpo_audio_pool": 1, "vpo_ss": 1, "acquire": 1, "total": 4}
    smoke = project.planned(
        "--config", "scale=smoke", f"vpo_sources={config}", "--", "data/smoke/vpo_ss_rebuilt/acquired.json"
    )
    assert smoke == jobs
    named = project.planned(*options, "roots={vpo_ss_rebuilt: /b}", "--", "data/full/vpo_ss_rebuilt/acquired.json")
    assert named == {"acquire": 1, "total": 1}


def test_no_other_target_needs_them(project):
    assert not [name for name in project.planned() if name.startswith("vpo_")]
