"""From SQLite to PostgreSQL and the commands about it: `db migrate-to`, `doctor`, `backup`."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest

from gateway.cli import dispatch
from gateway.store.lock import StateLock
from tests.support import databases
from tests.support.pilot import Pilot, pilot


@pytest.fixture
def url() -> str:
    """An empty database."""
    return databases.server().create()


async def _lived_in(p: Pilot) -> None:
    """Leaves some of everything."""
    await p.spawn(task="one \u2028 ünï", label="first")
    await p.wait_idle()
    await p.say("hello again")
    await p.wait_idle()


def _home(monkeypatch: pytest.MonkeyPatch, p: Pilot) -> None:
    monkeypatch.setenv("LANEWAY_HOME", str(p.paths.state))
    monkeypatch.setenv("LANEWAY_OFFLINE", "1")


async def test_a_state_moves_and_goes_on(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every row arrives, the next numbers follow, and the text says which line to change."""
    async with pilot(tmp_path, postgres=False) as p:
        await _lived_in(p)
        before = (await p.transcript(), await p.runs(), await p.sessions())
        _home(monkeypatch, p)
        await p.stop()
        assert dispatch(["db", "migrate-to", url, "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["tables"]["messages"] >= 5
        assert said["config"] == f'database: {{ url: "{url}" }}'
        assert dispatch(["db", "migrate-to", url]) == 1, "nothing is overwritten"
        assert "isn't empty" in capsys.readouterr().err
        p.configure({"database": {"url": url}})
        await p.start()
        assert (await p.transcript(), await p.runs(), await p.sessions()) == before
        await _lived_in(p)
        assert [run["outcome"] for run in await p.runs()] == ["ok", "ok"]
        await p.stop()
        assert dispatch(["db", "migrate-to", url]) == 1
        assert "nothing to move" in capsys.readouterr().err


async def test_the_lock_of_the_state_is_held(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No gateway starts meanwhile; and an address of another kind is refused."""
    async with pilot(tmp_path, postgres=False) as p:
        await p.stop()
        _home(monkeypatch, p)
        assert dispatch(["db", "migrate-to", "mysql://u:secret@h/n"]) == 1
        assert "secret" not in (said := capsys.readouterr().err)
        assert "no PostgreSQL address" in said
        lock = StateLock(p.paths.lock)
        lock.acquire()
        try:
            assert dispatch(["db", "migrate-to", url]) == 1
            assert "stop the gateway first" in capsys.readouterr().err
        finally:
            lock.release()


async def test_doctor_sees_the_server_and_who_works_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its version and schema, the gateway, and what to do when it can't be reached."""
    async with pilot(tmp_path, postgres=True) as p:
        _home(monkeypatch, p)
        dispatch(["doctor", "--json"])
        found = json.loads(capsys.readouterr().out)["findings"]
        texts = [each["text"] for each in found if each["part"] == "database"]
        assert any("PostgreSQL 16" in text and "schema" in text for text in texts)
        assert any(text.startswith("gateway on ") and text.endswith("is alive") for text in texts)
        p.configure({"database": {"url": "postgresql://me:secret@127.0.0.1:1/x"}})
        assert dispatch(["doctor"]) == 1
        assert "secret" not in (said := capsys.readouterr().out)
        assert "127.0.0.1:1" in said


async def test_a_backup_holds_the_files_and_names_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The database is pg_dump's to copy; restoring puts the files back."""
    async with pilot(tmp_path, postgres=True) as p:
        await p.spawn(task="one")
        await p.wait_idle()
        _home(monkeypatch, p)
        archive = tmp_path / "b.tar.gz"
        assert dispatch(["backup", str(archive)]) == 0
        assert "pg_dump" in capsys.readouterr().out
        with tarfile.open(archive) as tar:
            names = tar.getnames()
        assert "laneway.db" not in names
        [kept] = [name for name in names if name.endswith(".jsonl")]
        await p.stop()
        shutil.rmtree(p.paths.state / "agents")
        assert dispatch(["restore", str(archive), "--force"]) == 0
        assert "pg_restore" in capsys.readouterr().out
        assert (p.paths.state / kept).exists()
        await p.start()
        assert [run["outcome"] for run in await p.runs()] == ["ok"]
