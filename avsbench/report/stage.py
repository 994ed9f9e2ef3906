"""What the rule `leaderboard` and `onerror` call."""

from avsbench.plan import Plan
from avsbench.report.failures import find_failures
from avsbench.report.leaderboard import write_leaderboard


def render(plan: Plan, partial: bool = False) -> str:
    """Write the leaderboard of a plan; returns the Markdown file. After a failure `partial` writes from what exists."""
    return write_leaderboard(
        runs=plan.rows, skips=plan.skips, paths=plan.paths, partial=partial, failures=find_failures(plan)
    )
