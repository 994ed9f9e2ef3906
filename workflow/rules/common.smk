# Cards and configuration -> the lists that rules ask for. The logic lives in avsbench.plan, where tests reach it.
import os
import re

from avsbench import cards, digest, plan, workflow as house
from avsbench.config import check_config
from avsbench.paths import EXTERNAL

for file in workflow.configfiles:
    cards.read_yaml(file, "config", partial=True)
PLAN = plan.Plan(check_config(config))
PATHS = PLAN.paths
OPTIONS = PLAN.cli_options()

house.put_environment_on_path()
house.pass_on(PLAN)
# A job of a cluster reads this file too, and so does `avsbench status --why`.
if workflow.is_main_process and house.LOOKS not in os.environ:
    house.release_stale_lock()
    house.refresh_manifests(PLAN)
    house.refresh_submissions(PLAN)


wildcard_constraints:
    dataset="|".join(cards.dataset_cards()),
    split="train|val|test",
    shard=r"\d+",
    shards=r"\d+",
    seed=r"\d+|official|none",
    variant="|".join(map(re.escape, PLAN.variants)),
    condition="positive",
    submission=r"[A-Za-z][\w.-]*",


def of_card(key):
    """A resource of the card of the rule's variant."""
    return lambda w: cards.variant(w.variant).resources(PLAN.scale)[key]


def announce():
    print(house.announcement(PLAN), file=sys.stderr)


def write_partial_leaderboard():
    house.write_partial_leaderboard(PLAN)
