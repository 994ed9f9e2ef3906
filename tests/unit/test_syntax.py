"""What a file runs and imports is remembered by its content, and read anew where the memory is of no use."""

import json

import pytest

from avsbench import syntax

TEXT = '"""Words."""\n\nimport a.b, c\n\n\ndef late():\n    """More words."""\n    from ..d import e, f  # why\n'
FOUND = ("import a.b, c\n\ndef late():\n    from ..d import e, f", [[0, "a.b", []], [0, "c", []], [2, "d", ["e", "f"]]])


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A source file, and a memory of its own that a plan just filled."""
    monkeypatch.setattr(syntax, "MEMORY", tmp_path / "memory.json")
    monkeypatch.setattr(syntax, "_found", {})
    monkeypatch.setattr(syntax.atexit, "register", lambda function: None)
    path = tmp_path / "file.py"
    path.write_text(TEXT)
    syntax._remembered.cache_clear()
    assert syntax.parsed(path) == FOUND
    syntax._remember()
    yield path
    syntax._remembered.cache_clear()


def next_plan(monkeypatch):
    """How often a new process has to parse: a list that grows."""
    real, parsed = syntax._parse, []
    monkeypatch.setattr(syntax, "_parse", lambda *arguments: parsed.append(arguments) or real(*arguments))
    syntax._remembered.cache_clear()
    return parsed


def test_the_next_plan_parses_what_changed_alone(file, monkeypatch):
    parsed = next_plan(monkeypatch)
    assert syntax.parsed(file) == FOUND
    assert not parsed
    file.write_text(TEXT.replace("import a.b", "import a.x"))
    assert syntax.parsed(file)[1][0] == [0, "a.x", []]
    assert len(parsed) == 1


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"by": "another", "found": {}}'])
def test_a_memory_of_no_use_is_written_anew(file, monkeypatch, damage):
    syntax.MEMORY.write_text(damage)
    parsed = next_plan(monkeypatch)
    assert syntax.parsed(file) == FOUND
    assert len(parsed) == 1
    syntax._remember()
    assert len(json.loads(syntax.MEMORY.read_text())["found"]) == 1


def test_a_package_of_somebody_else_is_parsed_each_time(file, monkeypatch):
    monkeypatch.setattr(syntax, "MEMORY", file / "no folder")
    syntax._remember()
    parsed = next_plan(monkeypatch)
    assert syntax.parsed(file) == FOUND
    assert len(parsed) == 1


def test_old_contents_go_when_there_are_too_many(file, monkeypatch):
    monkeypatch.setattr(syntax, "MOST", 1)
    monkeypatch.setattr(syntax, "_found", {})
    file.write_text("import other\n")
    syntax.parsed(file)
    syntax._remember()
    assert [imports for _, imports in json.loads(syntax.MEMORY.read_text())["found"].values()] == [[[0, "other", []]]]
