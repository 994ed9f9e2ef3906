"""A headless Chromium for the tests of pages: one browser, a fresh page for each test, and a watch over both.

Pages are opened from disk, as readers do. A request for anything but a file is refused and fails the test, and so does
an error or warning on the console.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
"""Tags of the axe-core rules that a page must satisfy."""


@dataclass
class Watch:
    """What a page did that it should not: `errors` of its console and scripts, `requests` that left the disk, and
    `files`, every address that it loaded."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def route(self, route) -> None:
        address = route.request.url
        self.files.append(address)
        if address.startswith(("file:", "data:", "blob:")):
            route.continue_()
        else:
            self.requests.append(address)
            route.abort()

    def console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.text} ({message.location.get('url')}:{message.location.get('lineNumber')})")


def installed() -> str | None:
    """The program of the system's Chromium."""
    return os.environ.get("AVSBENCH_CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)


def unable(reason: str) -> None:
    """Skip a test, but not where all tests have to run: nobody would see that pages are never opened."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture(scope="package")
def browser() -> Iterator:
    """The system's Chromium; the package's scope ends playwright's event loop before other tests begin."""
    try:
        from playwright import sync_api
    except ImportError:
        unable("playwright is not installed: pip install -e '.[test]'")
    program = installed()
    if program is None:
        unable(f"no browser: none of {', '.join(PROGRAMS)} on the PATH; AVSBENCH_CHROMIUM may name one")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def page(browser, watch) -> Iterator:
    """A fresh page of 1280 × 800 in light colours; the test fails if it complains or asks for something outside."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 800}, color_scheme="light", reduced_motion="reduce"
    )
    context.set_default_timeout(10_000)
    context.route("**/*", watch.route)
    page = context.new_page()
    page.on("console", watch.console)
    page.on("pageerror", lambda error: watch.errors.append(str(error)))
    yield page
    context.close()
    assert not watch.errors, f"the page complained: {watch.errors}"
    assert not watch.requests, f"the page asked for {watch.requests}"


@pytest.fixture
def axe() -> Callable:
    """page -> what axe-core finds wrong with its present state, a line each: rule, its meaning, the first places."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        unable("axe-playwright-python is not installed: pip install -e '.[test]'")
    checker = Axe()

    def check(page) -> list[str]:
        options = {"runOnly": {"type": "tag", "values": list(RULES)}, "resultTypes": ["violations"]}
        found = checker.run(page, options=options).response["violations"]
        return [f"{each['id']}: {each['help']}: {[node['html'][:160] for node in each['nodes'][:3]]}" for each in found]

    return check


def overflow(page) -> int:
    """Pixels by which the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def address(file: str | Path) -> str:
    return Path(file).resolve().as_uri()
