"""What the last rule and `onerror` call."""

from avsbench.plan import Plan
from avsbench.report.failures import find_failures
from avsbench.report.leaderboard import write_leaderboard
from avsbench.report.study import write_study


def render(plan: Plan, partial: bool = False) -> str:
    """Write the leaderboard of a plan, or the page of its study; returns the Markdown file.

    After a failure `partial` writes from what exists.
    """
    known = {"runs": plan.rows, "skips": plan.skips, "paths": plan.paths, "failures": find_failures(plan)}
    if plan.study:
        return write_study(study=plan.study, lines=plan.lines, partial=partial, **known)
    return write_leaderboard(submissions=plan.submissions, conditions=plan.conditions, partial=partial, **known)
