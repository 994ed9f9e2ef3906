"""What the last rule, `onerror` and the verbs for people call."""

from avsbench.plan import Plan
from avsbench.report.board import Leaderboard
from avsbench.report.failures import find_failures
from avsbench.report.leaderboard import read_leaderboard, write_leaderboard
from avsbench.report.study import read_study, write_study
from avsbench.report.tables import Section


def render(plan: Plan, partial: bool = False) -> str:
    """Write the leaderboard of a plan, or the page of its study; returns the Markdown file.

    After a failure `partial` writes from what exists.
    """
    if plan.study:
        return write_study(study=plan.study, lines=plan.lines, partial=partial, **_of_runs(plan))
    return write_leaderboard(partial=partial, **_of_runs(plan), **_beside(plan))


def sections(plan: Plan) -> list[Section]:
    """The tables of the leaderboard of a plan, or of its study, as far as its runs are."""
    if plan.study:
        return read_study(study=plan.study, lines=plan.lines, partial=True, **_of_runs(plan))[0].sections
    return leaderboard(plan).board.sections


def leaderboard(plan: Plan) -> Leaderboard:
    """The leaderboard of a plan as far as its runs are, with the numbers that it is made of."""
    return read_leaderboard(partial=True, **_of_runs(plan), **_beside(plan))


def _of_runs(plan: Plan) -> dict:
    return {"runs": plan.rows, "skips": plan.skips, "paths": plan.paths, "failures": find_failures(plan)}


def _beside(plan: Plan) -> dict:
    return {"submissions": plan.submissions, "conditions": plan.conditions}
