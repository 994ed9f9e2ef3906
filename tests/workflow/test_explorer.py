"""What the workflow plans to show runs clip by clip."""

from avsbench.paths import Paths


def test_explorers_are_made_on_demand_of_rows_that_have_scores(complete):
    lost = complete.folder / Paths("mini").frame_scores("s4", "saliency", "none")
    lost.unlink()
    assert complete.planned("explorer") == {"explorer_media": 3, "explore": 5, "explorer": 1, "total": 9}
    page = Paths("mini").explorer_page("avss", "tpavi-r50", "0")
    assert complete.planned(page) == {"explorer_media": 1, "explore": 1, "total": 2}
