"""Backup and restore: of a running gateway, checked, and never over what is there."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.support.laneway import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "one").mkdir()
    return Home(tmp_path / "one")


@pytest.fixture
def other(tmp_path: Path) -> Home:
    (tmp_path / "two").mkdir()
    return Home(tmp_path / "two")


@pytest.fixture
def archive(home: Home, tmp_path: Path) -> Path:
    """Of a state with a conversation, taken while the gateway runs."""
    home.run("init")
    (home.state / "workspace" / "MEMORY.md").write_text("the cat is called Minka")
    target = tmp_path / "backup.tar.gz"
    with home.gateway():
        assert home.run("chat", "-m", "remember this conversation").code == 0
        done = home.run("backup", str(target))
        assert done.code == 0, done.err
    return target


def test_what_was_said_is_there_after_a_restore(archive: Path, other: Home) -> None:
    assert oct(archive.stat().st_mode)[-3:] == "600"
    done = other.run("restore", str(archive))
    assert (done.code, done.err) == (0, "")
    assert (other.state / "workspace" / "MEMORY.md").read_text() == "the cat is called Minka"
    assert (other.state / "config.json5").exists()
    assert not (other.state / "token").exists()
    with other.gateway():
        assert "user: remember this conversation" in other.run("sessions", "show").out


def test_a_database_elsewhere_is_in_the_backup_and_returns_to_its_place(
    home: Home, other: Home, tmp_path: Path
) -> None:
    file, archive = tmp_path / "data" / "talks.db", tmp_path / "backup.tar.gz"
    file.parent.mkdir()
    home.run("init")
    (home.state / "config.json5").write_text(f'{{ database: {{ url: "sqlite:///{file}" }} }}')
    with home.gateway():
        assert home.run("chat", "-m", "remember this conversation").code == 0
        assert home.run("backup", str(archive)).code == 0
    content = file.read_bytes()
    refused = other.run("restore", str(archive))
    assert (refused.code, str(file) in refused.err, "database.url" in refused.err) == (1, True, True)
    assert file.read_bytes() == content
    assert not (other.state / "config.json5").exists()
    for each in file.parent.iterdir():
        each.unlink()
    restored = other.run("restore", str(archive))
    assert (restored.code, str(file) in restored.out) == (0, True)
    with other.gateway():
        assert "user: remember this conversation" in other.run("sessions", "show").out
    forced = other.run("restore", str(archive), "--force", "--json").json
    assert (Path(forced["kept"]) / "elsewhere" / file.name).exists()
    assert forced["database"] == str(file)
    assert "talks.db: whole" in other.run("doctor").out


def test_a_copy_beside_the_original_may_have_its_database_elsewhere(home: Home, other: Home, tmp_path: Path) -> None:
    file, copy, archive = tmp_path / "talks.db", tmp_path / "copy" / "talks.db", tmp_path / "backup.tar.gz"
    home.run("init")
    (home.state / "config.json5").write_text(f'{{ database: {{ url: "sqlite:///{file}" }} }}')
    with home.gateway():
        assert home.run("chat", "-m", "remember this conversation").code == 0
        assert home.run("backup", str(archive)).code == 0
        other.env["LANEWAY__DATABASE__URL"] = f"sqlite:///{copy}"
        assert other.run("restore", str(archive)).code == 0
        with other.gateway():
            assert "user: remember this conversation" in other.run("sessions", "show").out


def test_where_the_database_goes_must_be_plain(home: Home, other: Home, tmp_path: Path) -> None:
    file, archive = tmp_path / "talks.db", tmp_path / "backup.tar.gz"
    home.env["TALKS"] = str(file)
    home.run("init")
    (home.state / "config.json5").write_text('{ database: { url: "sqlite:///${TALKS}" } }')
    with home.gateway():
        assert home.run("backup", str(archive)).code == 0
    done = other.run("restore", str(archive))
    assert (done.code, "TALKS" in done.err, str(file) in done.err) == (1, True, True)
    assert not (other.state / "config.json5").exists()
    del home.env["TALKS"]
    assert "the configuration is wrong" in home.run("backup", str(tmp_path / "second.tar.gz")).err


def test_a_copy_reads_its_own_transcripts(home: Home, other: Home, tmp_path: Path) -> None:
    """spec/subagents.md 30: `log` reads the file of an archived run, in a restored or moved state folder too."""
    home.env["LANEWAY__AGENTS__DEFAULTS__SUBAGENTS__ARCHIVE_AFTER_MINUTES"] = "0.00001"
    home.run("init")
    archive, moved = tmp_path / "backup.tar.gz", Home(tmp_path / "two")
    with home.gateway():
        assert home.run("chat", "-m", "spawn a sub-agent to count the Markdown files", "--wait").code == 0
        assert home.run("backup", str(archive)).code == 0
    assert other.run("restore", str(archive)).code == 0
    shutil.rmtree(home.state)
    for place in ("state", "elsewhere"):
        moved.env["LANEWAY_HOME"] = str(moved.folder / place)
        with moved.gateway():
            [run] = moved.run("subagents", "list", "--json").json["runs"]
            transcript = Path(run["transcriptPath"])
            assert transcript.is_relative_to(moved.folder / place)
            assert ".deleted." in transcript.name
            assert "Markdown" in moved.run("subagents", "log", run["runId"]).out
        if place == "state":
            other.state.rename(moved.folder / "elsewhere")


def test_a_state_that_is_there_is_replaced_only_by_force_and_kept(archive: Path, other: Home) -> None:
    with other.gateway():
        assert other.run("chat", "-m", "the older talk").code == 0
        running = other.run("restore", str(archive), "--force")
        assert running.code == 1
        assert "stop the gateway first" in running.err
    refused = other.run("restore", str(archive))
    assert refused.code == 1
    assert "--force" in refused.err
    forced = other.run("restore", str(archive), "--force", "--json").json
    assert (Path(forced["kept"]) / "laneway.db").exists()
    with other.gateway():
        shown = other.run("sessions", "show").out
    assert "remember this conversation" in shown
    assert "the older talk" not in shown


def test_a_folder_gets_a_named_file_and_a_file_is_never_overwritten(archive: Path, home: Home, tmp_path: Path) -> None:
    assert "exists already" in home.run("backup", str(archive)).err
    made = Path(home.run("backup", str(tmp_path), "--json").json["path"])
    assert made.parent == tmp_path
    assert made.name.startswith("laneway-")


def test_nothing_to_back_up(home: Home, tmp_path: Path) -> None:
    done = home.run("backup", str(tmp_path / "x.tar.gz"))
    assert done.code == 1
    assert "nothing to back up" in done.err
    assert not (tmp_path / "x.tar.gz").exists()


@pytest.mark.parametrize("damage", ["cut", "garbage", "missing", "changed", "escaping"])
def test_a_damaged_archive_changes_nothing(archive: Path, other: Home, damage: str) -> None:
    content = archive.read_bytes()
    if damage == "cut":
        archive.write_bytes(content[: len(content) // 2])
    elif damage == "garbage":
        archive.write_bytes(b"not an archive")
    elif damage == "missing":
        archive.unlink()
    elif damage == "changed":
        _rewrite(archive, "agents-note", "laneway.db")
    else:
        _rewrite(archive, "../../escaped", None)
    done = other.run("restore", str(archive))
    assert done.code == 1
    assert str(archive) in done.err
    assert not (other.state / "laneway.db").exists()
    assert not (other.folder.parent / "escaped").exists()


def _rewrite(archive: Path, added: str, changed: str | None) -> None:
    """The same archive with one more file and one changed one."""
    with tarfile.open(archive) as old:
        members = [(member.name, old.extractfile(member)) for member in old.getmembers()]
        contents = {name: stream.read() if stream else b"" for name, stream in members}
    contents[added] = b"x"
    if changed:
        contents[changed] = contents[changed][:-1] + b"?"
    with tarfile.open(archive, "w:gz") as new:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            new.addfile(member, io.BytesIO(content))
