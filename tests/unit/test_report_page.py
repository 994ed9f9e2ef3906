"""The page as a file: what it holds, whatever texts say, and when it is written."""

import json
from pathlib import Path

import pytest

from avsbench.paths import Paths
from avsbench.plan import Run
from avsbench.report.failures import Failure
from avsbench.report.leaderboard import read_leaderboard, write_leaderboard
from avsbench.report.web.embed import content_hash, embedded
from avsbench.report.web.page import write_html
from avsbench.report.web.payload import payload
from tests.unit.report_runs import make_run, paths_in
from tests.unit.web_pages import Parsed, data_in, page, submission

TPAVI = [Run("ms3", "tpavi-r50", seed) for seed in "012"]
PVT, SALIENCY = Run("ms3", "tpavi-pvt", "0"), Run("ms3", "saliency", "none")
HOSTILE = (
    "</script><script>alert(1)</script>", "<!-- <script>", "]]>", "\u2028\u2029", "&lt;b&gt; &amp;",
    "\ud800 \x00 \\u003c", "${alert(1)} `x` \"' </style>",
)  # fmt: skip


@pytest.fixture
def paths(tmp_path) -> Paths:
    return paths_in(tmp_path)


def test_the_page_holds_its_data_whatever_they_say(paths):
    failures = {run: Failure("failed", text) for run, text in zip([*TPAVI, PVT], HOSTILE, strict=False)}
    make_run(paths, SALIENCY, device={"name": HOSTILE[0]}, deviations=[*HOSTILE])
    guest = submission(paths, "guest", made_by=HOSTILE[0], note=" ".join(HOSTILE[1:5]))
    options = {"runs": [SALIENCY, *TPAVI, PVT], "failures": failures, "submissions": [guest]}
    read = read_leaderboard(paths=paths, **options)
    text = Path(write_html(read, paths)).read_text(encoding="utf-8")
    found = Parsed(text)
    assert [(tag, attributes.get("type")) for tag, attributes, _ in found.texts] == [
        ("style", None), ("script", "application/json"), ("script", "module"),
    ]  # fmt: skip
    assert json.loads(found.texts[1][2]) == payload(read, paths)
    assert text.isascii() or "\u2028" not in text
    for word in ("<!--", "-->", "alert(1)</", "\x00", "\ud800"):
        assert word not in text, word


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_embedded_comes_back(text):
    written = embedded({"text": text})
    assert json.loads(written) == {"text": text}
    assert written.isascii()
    assert not set("<>&") & set(written)


def test_a_number_that_is_none_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        embedded({"value": float("nan")})


def test_the_policy_allows_this_style_and_this_script_and_nothing_else(paths):
    make_run(paths, SALIENCY)
    write_leaderboard(runs=[SALIENCY], paths=paths)
    found = page(paths)
    policy = next(a["content"] for tag, a in found.tags if a.get("http-equiv") == "Content-Security-Policy")
    style, _, script = (text for _, _, text in found.texts)
    assert f"style-src '{content_hash(style)}';" in policy
    assert f"script-src '{content_hash(script)}';" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for tag, attributes in found.tags:
        assert "src" not in attributes, tag
        assert tag != "link" or attributes["href"].startswith("data:")


def test_a_failure_leaves_the_full_page_alone_and_success_clears_the_partial_one(paths):
    make_run(paths, SALIENCY)
    full, partial = (Path(paths.leaderboard("html", partial)) for partial in (False, True))
    write_leaderboard(runs=[SALIENCY], paths=paths)
    before = (full.read_bytes(), full.stat().st_mtime_ns)
    write_leaderboard(runs=[SALIENCY, PVT], paths=paths, partial=True, failures={PVT: Failure("failed", "no memory")})
    assert (full.read_bytes(), full.stat().st_mtime_ns) == before
    data = data_in(partial)
    assert data["partial"]
    assert data["first_failure"].endswith("no memory")
    write_leaderboard(runs=[SALIENCY], paths=paths)
    assert not partial.exists()
    assert full.read_bytes() == before[0]
