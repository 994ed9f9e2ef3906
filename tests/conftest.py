"""How tests are dealt out to workers (`pytest -n 2`)."""

from xdist.scheduler import LoadScopeScheduling

CONTRACT = "tests/contract/test_methods.py"
PAGES = "tests/browser/"
FINISHED = tuple(f"tests/e2e/test_{name}.py" for name in ("chaos", "ensemble", "leaderboard", "study"))
"""They look at one finished workflow: two workers would run it twice, and in each other's way."""


class Scheduler(LoadScopeScheduling):
    """A file stays on one worker, so that its fixtures are made once; but each variant of a method has its contract
    tests apart, or one worker would be left with all of them. Pages share a worker, which starts one browser."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file.startswith(PAGES):
            return PAGES
        if file == CONTRACT:
            return nodeid.rpartition("[")[2].rsplit("-", 2)[0]
        return "finished" if file in FINISHED else file


def pytest_xdist_make_scheduler(config, log):
    return Scheduler(config, log)
