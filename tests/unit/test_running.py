"""Signs of life beside logs: who runs, who was killed."""

import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from avsbench import cli, running
from avsbench.running import read_sign, sign_of_life


def test_a_sign_says_where_and_goes_when_the_stage_ends(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    log = str(tmp_path / "logs/train.log")
    with sign_of_life(log):
        sign = read_sign(log)
        assert sign.alive
        assert (sign.host, sign.pid, sign.slurm) == (platform.node(), os.getpid(), "4711")
        assert sign.place == f"{platform.node()}, process {os.getpid()}, SLURM job 4711"
    assert read_sign(log) is None
    assert list((tmp_path / "logs").iterdir()) == []


def test_a_sign_goes_with_an_error(tmp_path):
    log = str(tmp_path / "train.log")
    with pytest.raises(ValueError, match="no"), sign_of_life(log):
        raise ValueError("no")
    assert read_sign(log) is None


def test_every_verb_with_a_log_leaves_one(tmp_path, monkeypatch):
    log, seen = str(tmp_path / "a.log"), []
    monkeypatch.setattr(cli.people, "list_all", lambda args: seen.append(read_sign(log).alive))
    assert cli.main(["list", "--log", log]) == 0
    assert seen == [True]
    assert read_sign(log) is None


def test_a_killed_process_is_found_out(tmp_path):
    log = str(tmp_path / "train.log")
    code = (
        f"from avsbench.running import *; import time\nwith sign_of_life({log!r}): print(1, flush=True); time.sleep(99)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    process.stdout.readline()
    assert read_sign(log).alive
    process.kill()
    process.wait()
    process.stdout.close()
    assert read_sign(log).pid == process.pid
    assert not read_sign(log).alive


def test_another_process_of_the_same_number_does_not_pass_for_it(tmp_path):
    with sign_of_life(str(tmp_path / "log")):
        sign = read_sign(str(tmp_path / "log"))
    if not sign.born:
        pytest.skip("this system does not say when a process started (/proc)")
    assert not replace(sign, born="1").alive


def test_on_another_machine_the_date_counts(tmp_path):
    log = tmp_path / "train.log"
    with sign_of_life(str(log)):
        sign = read_sign(str(log))
        file = running._file(str(log))
        content = json.loads(file.read_text()) | {"host": "another-machine", "pid": 1}
        file.write_text(json.dumps(content))
        assert read_sign(str(log)).alive
        old = time.time() - running.SILENT - 1
        os.utime(file, (old, old))
        assert not read_sign(str(log)).alive
    assert sign.alive


def test_the_date_is_renewed(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "BEAT", 0.01)
    log = str(tmp_path / "log")
    with sign_of_life(log):
        file = running._file(log)
        os.utime(file, (0, 0))
        until = time.monotonic() + 10
        while file.stat().st_mtime == 0 and time.monotonic() < until:
            time.sleep(0.01)
        assert file.stat().st_mtime > 0


def test_where_no_sign_can_be_written_the_stage_runs_all_the_same(tmp_path):
    (tmp_path / "file").write_text("")
    done = []
    with sign_of_life(str(tmp_path / "file/train.log")):
        done.append(1)
    assert done


def test_who_ends_first_leaves_the_sign_of_who_began_later(tmp_path):
    log, newer = str(tmp_path / "log"), '{"of": "another process"}'
    with sign_of_life(log):
        running._file(log).write_text(newer)
    assert running._file(log).read_text() == newer


def test_half_a_sign_is_none(tmp_path):
    (tmp_path / "log.running").write_text('{"host": "a"')
    assert read_sign(str(tmp_path / "log")) is None
    (tmp_path / "log.running").write_text('{"host": "a"}')
    assert read_sign(str(tmp_path / "log")) is None
