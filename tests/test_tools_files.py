"""The file and search tools, called as a turn calls them."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.tools import search
from tests.support.tools import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "state")


async def test_write_read_edit_and_list(world: World) -> None:
    written = await world.call("write", path="notes/a.txt", content="one\ntwo\nthree\n")
    assert not written.error and "created" in written.text and "14 bytes" in written.text
    assert (await world.call("read", path="notes/a.txt")).text == "one\ntwo\nthree\n"
    edited = await world.call("edit", path="notes/a.txt", old="two", new="2")
    assert not edited.error and "line 2" in edited.text
    assert (world.workspace / "notes/a.txt").read_text() == "one\n2\nthree\n"
    assert (await world.call("ls")).text == "notes/"
    assert (await world.call("ls", path="notes")).text == "a.txt (12 bytes)"
    assert "replaced" in (await world.call("write", path="notes/a.txt", content="")).text
    assert (await world.call("read", path="notes/a.txt")).text == "(empty)"


async def test_no_temporary_file_stays_and_the_mode_is_kept(world: World) -> None:
    script = world.workspace / "run.sh"
    script.write_text("echo 1\n")
    script.chmod(0o750)
    await world.call("edit", path="run.sh", old="1", new="2")
    assert script.stat().st_mode & 0o777 == 0o750
    assert [path.name for path in world.workspace.iterdir()] == ["run.sh"]


async def test_read_takes_up_where_it_left(world: World) -> None:
    (world.workspace / "long.txt").write_text("".join(f"line {n}\n" for n in range(1, 3001)))
    first = await world.call("read", path="long.txt")
    assert first.text.startswith("line 1\n") and "go on with offset 2001" in first.text
    rest = await world.call("read", path="long.txt", offset=2001)
    assert rest.text.startswith("line 2001\n") and rest.text.endswith("line 3000\n")
    some = await world.call("read", path="long.txt", offset=10, limit=2)
    assert some.text.startswith("line 10\nline 11\n") and "offset 12" in some.text
    beyond = await world.call("read", path="long.txt", offset=9999)
    assert beyond.error and "3000 lines" in beyond.text


async def test_read_is_capped_visibly(world: World) -> None:
    (world.workspace / "wide.txt").write_text("x" * 300_000 + "\nend\n")
    result = await world.call("read", path="wide.txt")
    assert len(result.text) < 100_000 and "line 1 is longer" in result.text
    assert (await world.call("read", path="wide.txt", offset=2)).text == "end\n"
    (world.workspace / "many.txt").write_text(("y" * 999 + "\n") * 200)
    result = await world.call("read", path="many.txt")
    assert len(result.text) < 100_000 and "go on with offset 100 " in result.text


async def test_read_refuses_what_is_no_text(world: World) -> None:
    (world.workspace / "p.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    (world.workspace / "b.bin").write_bytes(b"abc\0def")
    os.mkfifo(world.workspace / "pipe")
    assert "PNG picture" in (await world.call("read", path="p.png")).text
    assert "binary file" in (await world.call("read", path="b.bin")).text
    assert "folder" in (await world.call("read", path=".")).text
    for name in ("pipe", "missing.txt"):
        assert (await world.call("read", path=name)).error


async def test_edit_wants_exactly_one_place(world: World) -> None:
    file = world.workspace / "a.txt"
    file.write_text("x\ny\nx\n")
    twice = await world.call("edit", path="a.txt", old="x", new="z")
    assert twice.error and "2 times (lines 1, 3)" in twice.text
    absent = await world.call("edit", path="a.txt", old="q", new="z")
    assert absent.error and "not in the file" in absent.text
    assert not (await world.call("edit", path="a.txt", old="x", new="z", replaceAll=True)).error
    assert file.read_text() == "z\ny\nz\n"
    file.write_bytes(b"one\r\ntwo\r\n")
    assert not (await world.call("edit", path="a.txt", old="one\ntwo", new="1\n2")).error
    assert file.read_bytes() == b"1\r\n2\r\n"


async def test_edits_of_one_file_at_the_same_time_are_all_kept(world: World) -> None:
    file = world.workspace / "a.txt"
    file.write_text("\n".join(f"<{n}>" for n in range(30)))
    results = await asyncio.gather(*(world.call("edit", path="a.txt", old=f"<{n}>", new=f"[{n}]") for n in range(30)))
    assert not any(result.error for result in results)
    assert file.read_text() == "\n".join(f"[{n}]" for n in range(30))


@pytest.mark.parametrize(
    "path", ["../token", "../../x", "/etc/passwd", "a/../../token", "", "x\0y", "/", "..", "\udc80/../../x"]
)
async def test_paths_do_not_leave_the_workspace(world: World, path: str) -> None:
    for tool, more in (("read", {}), ("ls", {}), ("write", {"content": "x"}), ("grep", {"pattern": "."})):
        result = await world.call(tool, None, path=path, **more)
        assert result.error, (tool, path)
    assert (world.state / "token").read_text() == "sesame-sesame"


async def test_links_lead_only_to_the_inside(world: World, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    inside = world.workspace / "real"
    inside.mkdir()
    (inside / "a.txt").write_text("mine")
    (world.workspace / "good").symlink_to("real")
    (world.workspace / "absolute").symlink_to(inside / "a.txt")
    (world.workspace / "bad").symlink_to(outside)
    (world.workspace / "worse").symlink_to("../token")
    (world.workspace / "loop").symlink_to("loop")
    assert (await world.call("read", path="good/a.txt")).text == "mine"
    assert (await world.call("read", path="absolute")).text == "mine"
    for path in ("bad/secret.txt", "worse", "loop", "good/../bad/secret.txt", "bad"):
        assert (await world.call("read", path=path)).error, path
    assert (await world.call("write", path="bad/new.txt", content="x")).error
    assert (await world.call("write", path="worse", content="x")).error
    assert (world.state / "token").read_text() == "sesame-sesame"
    assert not (outside / "new.txt").exists()
    assert (await world.call("grep", path=".", pattern="secret")).text == "nothing matches"
    assert (await world.call("glob", pattern="**/secret.txt")).text == "nothing matches"


async def test_writing_through_a_link_keeps_the_link(world: World) -> None:
    (world.workspace / "real.txt").write_text("old")
    (world.workspace / "link.txt").symlink_to("real.txt")
    await world.call("write", path="link.txt", content="new")
    assert (world.workspace / "link.txt").is_symlink()
    assert (world.workspace / "real.txt").read_text() == "new"


@pytest.fixture
def swapper(world: World, tmp_path: Path) -> Iterator[None]:
    """Makes `d` a folder and a link to the outside in turn, as fast as it can."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f.txt").write_text("stolen")
    real, link, door = world.workspace / "real", world.workspace / "link", world.workspace / "d"
    real.mkdir()
    (real / "f.txt").write_text("mine")
    link.symlink_to(outside)
    ended = threading.Event()

    def swap() -> None:
        while not ended.is_set():
            for source in (real, link):
                source.rename(door)
                door.rename(source)

    thread = threading.Thread(target=swap)
    thread.start()
    yield
    ended.set()
    thread.join()


@pytest.mark.usefixtures("swapper")
async def test_a_folder_that_is_swapped_for_a_link_gains_nothing(world: World, tmp_path: Path) -> None:
    until = time.monotonic() + 1.0
    texts: set[str] = set()
    while time.monotonic() < until:
        result = await world.call("read", path="d/f.txt")
        texts.add("error" if result.error else result.text)
        await world.call("edit", path="d/f.txt", old="stolen", new="changed")
    assert texts <= {"mine", "error"}
    assert (tmp_path / "outside" / "f.txt").read_text() == "stolen"


async def test_the_state_folder_is_closed_from_every_side(world: World) -> None:
    home = world.state.parent
    ctx = world.context(cwd=home, roots=(home, world.workspace))
    (home / "mine.txt").write_text("sesame of my own")
    (world.workspace / "w.txt").write_text("sesame at work")
    for path in ("state/token", "state", "state/agents/x", str(world.state / "token")):
        for tool, more in (("read", {}), ("ls", {}), ("write", {"content": "x"})):
            assert (await world.call(tool, ctx, path=path, **more)).error, (tool, path)
    assert not (await world.call("read", ctx, path="state/workspace/w.txt")).error
    assert not (await world.call("read", ctx, path="mine.txt")).error
    assert "state" not in (await world.call("ls", ctx)).text
    assert "token" not in (await world.call("grep", ctx, pattern="sesame")).text
    assert (await world.call("glob", ctx, pattern="**/token")).text == "nothing matches"
    whole = world.context(cwd=world.state, roots=(world.state,))
    assert (await world.call("read", whole, path="token")).error


async def test_bootstrap_and_memory_files_are_read_only_to_sub_agents(world: World) -> None:
    (world.workspace / "AGENTS.md").write_text("be kind")
    (world.workspace / "memory").mkdir()
    (world.workspace / "alias.md").symlink_to("AGENTS.md")
    child = world.context(depth=1)
    for path in ("AGENTS.md", "agents.md", "memory/today.md", "./memory/../MEMORY.md", "alias.md"):
        result = await world.call("write", child, path=path, content="be evil")
        assert result.error and "read-only" in result.text, path
    assert (await world.call("edit", child, path="AGENTS.md", old="kind", new="evil")).error
    assert not (await world.call("read", child, path="AGENTS.md")).error
    assert not (await world.call("write", child, path="project/AGENTS.md", content="x")).error
    assert not (await world.call("write", path="AGENTS.md", content="be kinder")).error


async def test_glob(world: World) -> None:
    for name in ("a.py", "pkg/b.py", "pkg/deep/c.py", "pkg/d.txt", ".git/x.py", "node_modules/y.py"):
        (world.workspace / name).parent.mkdir(parents=True, exist_ok=True)
        (world.workspace / name).write_text("")

    async def found(pattern: str, path: str = ".") -> list[str]:
        return (await world.call("glob", pattern=pattern, path=path)).text.splitlines()

    assert await found("*.py") == ["a.py", "pkg/b.py", "pkg/deep/c.py"]
    assert await found("pkg/*.py") == ["pkg/b.py"]
    assert await found("**/deep/*") == ["pkg/deep/c.py"]
    assert await found("pkg/**") == ["pkg/", "pkg/b.py", "pkg/d.txt", "pkg/deep/", "pkg/deep/c.py"]
    assert await found("*.{txt,md}") == ["pkg/d.txt"]
    assert await found("*.py", "pkg/deep") == ["c.py"]
    assert await found("[") == ["nothing matches"]


async def test_grep(world: World) -> None:
    (world.workspace / "a.txt").write_text("alpha\nbeta\ngamma\ndelta\nBeta\n")
    (world.workspace / "b.md").write_text("beta in b\n")
    (world.workspace / "bin").write_bytes(b"beta\0")
    assert (await world.call("grep", pattern="^beta")).text == "a.txt:2: beta\nb.md:1: beta in b"
    assert (await world.call("grep", pattern="beta", glob="*.md")).text == "b.md:1: beta in b"
    assert (await world.call("grep", pattern="beta", path="a.txt", ignoreCase=True)).text == (
        "a.txt:2: beta\na.txt:5: Beta"
    )
    context = await world.call("grep", pattern="gamma", path="a.txt", context=1)
    assert context.text == "a.txt-2- beta\na.txt:3: gamma\na.txt-4- delta"
    assert (await world.call("grep", pattern="(")).error


async def test_grep_is_capped_in_length_and_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (world.workspace / "many.txt").write_text("hit\n" * 10_000)
    many = await world.call("grep", pattern="hit")
    assert many.text.count("\n") == 200 and "stopped after 200 matches" in many.text
    (world.workspace / "many.txt").write_text("a" * 60 + "b\n")
    monkeypatch.setattr(search, "_SECONDS", 0.3)
    begun = time.monotonic()
    late = await world.call("grep", pattern="(a|aa)+$")
    assert "too long" in late.text and time.monotonic() - begun < 5


async def test_a_cancelled_search_ends_its_thread(world: World) -> None:
    (world.workspace / "a.txt").write_text("x\n" * 3_000_000)
    task = asyncio.create_task(world.call("grep", pattern="^x$.", path="a.txt"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(task, 0.1)
    begun = time.monotonic()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert time.monotonic() - begun < 1.0
