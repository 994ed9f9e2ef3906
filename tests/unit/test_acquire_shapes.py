"""What people have in place of the official folder: other shapes, archives, mirrors; and a job killed half-way."""

import hashlib
import http.server
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from avsbench import cards
from avsbench.datasets import acquire, mirrors, reader, space
from avsbench.datasets.acquire import sources
from avsbench.datasets.release import find_root, required
from avsbench.errors import AvsbenchError
from avsbench.paths import Paths

from .rendered import own, rendered, small_card  # noqa: F401 - fixtures

# ruff: noqa: F811


@pytest.fixture
def out(tmp_path):
    return Paths("full", data_root=str(tmp_path / "data"))


def readable(name, out):
    """The clips of the acquired tree: every table row read, and their number."""
    read = reader(small_card(name), Path(out.official(name)))
    table = read.table()
    read.read(table.iloc[0], 32)
    return len(table)


SHAPES = {
    "s4": ["", "Single-source", "AVSBench_object/Single-source", "avsbench_data/Single-source", "mine/or/yours"],
    "ms3": ["Multi-sources", "AVS_dataset/AVSBench_object/Multi-sources"],
    "avss": ["avs_released", "AVSBench_semantic", "AVS_dataset/AVSBench_semantic"],
    "vpo_ss": ["", "audio_visual", "data/audio_visual"],
}


@pytest.mark.parametrize(("name", "shape"), [(name, shape) for name in SHAPES for shape in SHAPES[name]])
def test_folders_above(name, shape, out, rendered, tmp_path):
    top = tmp_path / "mine" / shape
    top.parent.mkdir(parents=True, exist_ok=True)
    top.symlink_to(rendered(name), target_is_directory=True)
    content = acquire(small_card(name), scale="full", root=str(tmp_path / "mine"), out=out)
    assert content["source"] == str(rendered(name).resolve())
    assert readable(name, out) == sum(content["clips"].values())
    assert find_root(small_card(name), tmp_path / "mine") == rendered(name).resolve()


@pytest.mark.parametrize("below", ["s4_data", "VPO", "VPO/VPO-SS", "v1s"])
def test_a_part_of_the_release_names_the_whole(below, out, rendered):
    name = {"s": "s4", "V": "vpo_ss", "v": "avss"}[below[0]]
    content = acquire(small_card(name), scale="full", root=str(rendered(name) / below), out=out)
    assert content["source"] == str(rendered(name).resolve())


def test_parts_that_lie_apart_are_put_together_by_links(out, own, rendered, tmp_path):
    table = own("s4") / "s4_meta_data.csv"
    (tmp_path / "mine/tables").mkdir(parents=True)
    shutil.move(table, tmp_path / "mine/tables")
    shutil.move(tmp_path / "s4/s4_data", tmp_path / "mine/AVS")
    (tmp_path / "mine/AVS").rename(tmp_path / "mine/s4_data")
    content = acquire(small_card("s4"), scale="full", root=str(tmp_path / "mine"), out=out)
    official = Path(out.official("s4"))
    assert sorted(path.name for path in official.iterdir()) == ["s4_data", "s4_meta_data.csv"]
    assert all(path.is_symlink() for path in official.iterdir())
    assert "tables" in content["source"]
    assert readable("s4", out) == 9
    assert acquire(small_card("s4"), scale="full", root=None, out=out)["clips"] == content["clips"]
    acquire(small_card("s4"), scale="full", root=str(rendered("s4")), out=out)
    assert official.is_symlink(), "the folder of links gives way to a link"
    with pytest.raises(AvsbenchError, match=r"several folders(.|\n)*avsbench acquire"):
        find_root(small_card("s4"), tmp_path / "mine")


def test_vpo_archives_unpacked_side_by_side(out, own, tmp_path):
    (tmp_path / "mine").mkdir()
    top = own("vpo_ss")
    shutil.move(top / "VPO", tmp_path / "mine/VPO_v2")
    shutil.move(top / "vggsound_bench", tmp_path / "mine/sounds")
    acquire(small_card("vpo_ss"), scale="full", root=str(tmp_path / "mine"), out=out)
    assert readable("vpo_ss", out) == 9


def test_the_table_is_missing(out, own):
    top = own("s4")
    (top / "s4_meta_data.csv").unlink()
    with pytest.raises(AvsbenchError, match=r"no s4_meta_data\.csv \(but .*s4_data\)"):
        acquire(small_card("s4"), scale="full", root=str(top), out=out)


@pytest.mark.parametrize(("name", "kind", "base"), [("s4", "zip", ""), ("ms3", "gztar", ""), ("avss", "tar", "x")])
def test_an_archive(name, kind, base, out, rendered, tmp_path):
    top = tmp_path / "packed" / base / "Top"
    shutil.copytree(rendered(name), top)
    archive = shutil.make_archive(str(tmp_path / "mine"), kind, tmp_path / "packed")
    content = acquire(small_card(name), scale="full", root=archive, out=out)
    assert readable(name, out) == sum(content["clips"].values())
    assert content["source"].startswith(out.unpacked()) or str(Path(out.unpacked()).resolve()) in content["source"]
    (folder,) = [path for path in Path(out.unpacked()).iterdir() if path.is_dir()]
    assert sources(folder) == [Path(archive)]
    before = folder.stat().st_ino
    smoke = Paths("smoke", data_root=out.data_root)
    acquire(small_card(name), scale="smoke", root=archive, out=smoke)
    assert folder.stat().st_ino == before, "unpacked once, also for scale smoke"
    assert Path(smoke.official(name)).resolve() == Path(out.official(name)).resolve()


def test_a_folder_of_archives_and_a_loose_table(out, rendered, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    for part in ("v1s", "v1m", "v2"):
        shutil.make_archive(str(mine / part), "zip", rendered("avss"), part)
    shutil.make_archive(str(mine / "holiday"), "zip", rendered("s4"))
    for file in ("metadata.csv", "label2idx.json"):
        shutil.copy(rendered("avss") / file, mine)
    acquire(small_card("avss"), scale="full", root=str(mine), out=out)
    assert readable("avss", out) == 14
    (folder,) = [path for path in Path(out.unpacked()).iterdir() if path.is_dir()]
    assert sorted(path.name for path in folder.iterdir()) == [".archives.json", "v1m", "v1s", "v2"], (
        "other archives are left alone"
    )


def test_pieces_may_be_named_by_the_whole_or_lie_in_the_folder_for_downloads(out, rendered, tmp_path):
    archive = Path(shutil.make_archive(str(tmp_path / "Single-source"), "zip", rendered("s4")))
    data = archive.read_bytes()
    archive.unlink()
    drop = Path(out.downloads("s4"))
    drop.mkdir(parents=True)
    for number, start in enumerate(range(0, len(data), len(data) // 3 + 1), start=1):
        (drop / f"Single-source.zip.{number:03d}").write_bytes(data[start : start + len(data) // 3 + 1])
    acquire(small_card("s4"), scale="full", root=str(drop / "Single-source.zip"), out=out)
    assert readable("s4", out) == 9
    Path(out.official("s4")).unlink()
    acquire(small_card("s4"), scale="full", root=None, out=out)
    assert readable("s4", out) == 9


def test_a_killed_unpacking_leaves_nothing_that_counts(out, rendered, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "Single-source"), "tar", rendered("s4"))
    code = (
        "import sys, time\n"
        "from avsbench import cards\n"
        "from avsbench.datasets import acquire, archives\n"
        "from avsbench.paths import Paths\n"
        "write = archives._write\n"
        "def slow(*a):\n"
        "    print('file', flush=True); time.sleep(0.2); return write(*a)\n"
        "archives._write = slow\n"
        "acquire(cards.dataset('s4'), scale='full', root=sys.argv[1], out=Paths('full', data_root=sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", code, archive, out.data_root]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=cards.PROJECT) as child:
        for _ in range(3):
            child.stdout.readline()
        os.kill(child.pid, signal.SIGKILL)
    left = [path for path in Path(out.unpacked()).iterdir() if path.is_dir()]
    assert [path.name.startswith(".") and path.name.endswith(".tmp") for path in left] == [True]
    assert any(path.is_file() for path in left[0].rglob("*"))
    assert not os.path.lexists(out.official("s4"))
    assert not Path(out.acquired("s4")).exists()
    acquire(small_card("s4"), scale="full", root=archive, out=out)
    assert readable("s4", out) == 9
    assert not left[0].exists(), "the next call removes what the killed one left"


def test_no_room(out, rendered, tmp_path, monkeypatch, caplog):
    archive = shutil.make_archive(str(tmp_path / "Single-source"), "zip", rendered("s4"))
    monkeypatch.setattr(space, "free_bytes", lambda path: 1000)
    with pytest.raises(AvsbenchError, match=r"not enough room.*unpacking s4(.|\n)*1\.0 kB free(.|\n)*expected: about"):
        acquire(small_card("s4"), scale="full", root=archive, out=out)
    assert not [path for path in Path(out.unpacked()).iterdir() if path.is_dir()]
    space.require(tmp_path, 950, "a thing")
    assert "tight" in caplog.text


def test_every_card_describes_its_release():
    for card in cards.dataset_cards().values():
        assert card.release["table"].endswith(".csv")
        assert required(card)
        assert card.construction or card.release["archives"]
        assert 1e9 < space.released_bytes(card, "full") < 1e12 or card.name == "ms3"


# mirrors


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `content`; understands ranges if told to, and breaks off the first answer half-way."""

    content, ranges, breaks, asked = b"", True, 0, []

    def do_GET(self):
        wanted = self.headers.get("Range")
        type(self).asked.append(wanted)
        if "missing" in self.path:
            return self.send_error(404)
        start = int(wanted.split("=")[1].split("-")[0]) if wanted and self.ranges else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(self.content) - start))
        self.end_headers()
        body = self.content[start:]
        if self.breaks:
            type(self).breaks -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *args):
        """Silence."""


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(mirrors, "PAUSE", 0.01)
    Server.content, Server.ranges, Server.breaks, Server.asked = os.urandom(300_000), True, 0, []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def mirror(address, **changes):
    digest = hashlib.sha256(Server.content).hexdigest()
    return {"url": f"{address}/x", "sha256": digest, "file": "Single-source.zip", **changes}


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on(ranges, server, tmp_path):
    Server.ranges, Server.breaks = ranges, 2
    target = mirrors.fetch([mirror(server)], tmp_path / "a/x.zip")
    assert target.read_bytes() == Server.content
    assert Server.asked[0] is None
    assert Server.asked[1].startswith("bytes=14"), "from where the first answer broke off"
    assert [path.name for path in target.parent.iterdir()] == ["x.zip"]
    mirrors.fetch([mirror(server)], target)
    assert len(Server.asked) == 3, "what is there is not fetched again"


def test_the_next_mirror_and_the_wrong_file(server, tmp_path):
    second = [mirror(server, url=f"{server}/missing"), mirror(server)]
    assert mirrors.fetch_all(second, tmp_path) == [tmp_path / "Single-source.zip"]
    with pytest.raises(AvsbenchError, match=r"y\.zip: cannot be downloaded(.|\n)*404(.|\n)*not 00000000"):
        mirrors.fetch([second[0], mirror(server, sha256="0" * 64)], tmp_path / "y.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["Single-source.zip"]


def test_acquire_from_a_mirror(server, out, rendered, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "x"), "zip", rendered("s4"))
    Server.content = Path(archive).read_bytes()
    acquire(small_card("s4"), scale="full", root=None, out=out, mirrors=[mirror(server)])
    assert readable("s4", out) == 9
    assert (Path(out.downloads("s4")) / "Single-source.zip").is_file()
