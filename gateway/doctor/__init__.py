"""`laneway doctor`: looks at everything that must be right for the gateway to work, and says what to do about the rest.

Reads only: it takes no lock, changes no file and, unless asked for with `--online`, reaches no network. Each part is
one function that yields findings, so that one that fails doesn't hide the others.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import sqlite3
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gateway.agent.resolve import default_model
from gateway.config import Config, ConfigError, Paths, UnknownModel, load_config
from gateway.doctor.findings import Finding as Finding
from gateway.doctor.findings import Level as Level
from gateway.doctor.mcp import mcp_servers
from gateway.store.database import StoreError
from gateway.store.lock import holder, is_held
from gateway.store.migrate import HEAD, current
from gateway.store.open import database_file, postgres_url
from gateway.tools import sandbox

OLDEST_PYTHON = (3, 11)
MANY_CHILDREN = 20
BAD_VERSIONS: Mapping[str, Mapping[str, str]] = {
    "litellm": {
        "1.82.7": "this release was malicious; reinstall from the lock file and change every key it could see",
        "1.82.8": "this release was malicious; reinstall from the lock file and change every key it could see",
    },
}
LOW_DISK_BYTES = 200 * 1024 * 1024


def examine(config_path: Path | None, paths: Paths, environ: Mapping[str, str]) -> tuple[list[Finding], Config | None]:
    """Looks at everything that needs no network.

    Returns:
        The findings, and the configuration if it can be read.
    """
    config, problems = None, ()
    try:
        config = load_config(config_path, paths=paths, environ=environ)
    except ConfigError as error:
        problems = error.problems
    findings = [*python(), *packages(), *state_folder(paths), *database(paths, config), *lock(paths)]
    findings += [Finding("configuration", Level.FAIL, str(problem), "correct the file") for problem in problems]
    if config is None:
        return findings, None
    findings += [
        *configuration(config),
        *providers(config),
        *binding(config),
        *children(config),
        *confinement(config),
        *mcp_servers(config, environ),
    ]
    return findings, config


def python() -> Iterator[Finding]:
    """The interpreter's version."""
    running = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        yield Finding("python", Level.FAIL, f"Python {running} is too old", "use Python 3.11 or newer")
    else:
        yield Finding("python", Level.OK, f"Python {running}")


def packages() -> Iterator[Finding]:
    """Installed versions that are known to be bad."""
    for name, bad in BAD_VERSIONS.items():
        try:
            installed = version(name)
        except PackageNotFoundError:
            yield Finding("packages", Level.WARN, f"{name} isn't installed", "install from requirements.lock")
            continue
        if installed in bad:
            yield Finding("packages", Level.FAIL, f"{name} {installed}", bad[installed])
        else:
            yield Finding("packages", Level.OK, f"{name} {installed}")


def state_folder(paths: Paths) -> Iterator[Finding]:
    """Whether the state folder can be used and is closed to others."""
    state, part = paths.state, "state folder"
    if not state.exists():
        yield Finding(part, Level.OK, f"{state} doesn't exist yet; the first start makes it")
        return
    if not state.is_dir() or not os.access(state, os.R_OK | os.W_OK | os.X_OK):
        yield Finding(part, Level.FAIL, f"{state} can't be written", "check its owner and permissions")
        return
    yield Finding(part, Level.OK, str(state))
    if shutil.disk_usage(state).free < LOW_DISK_BYTES:
        yield Finding(part, Level.WARN, f"less than 200 MB are free for {state}", "free some space")
    open_to_others = [
        f"chmod {wanted:o} {file}"
        for file, wanted in _private(paths)
        if file.exists() and stat.S_IMODE(file.stat().st_mode) & 0o077
    ]
    if open_to_others:
        yield Finding(part, Level.WARN, "others can read private files", "; ".join(open_to_others))


def _private(paths: Paths) -> list[tuple[Path, int]]:
    files = (paths.database, paths.token, paths.config_file, paths.history)
    return [(paths.state, 0o700), *((file, 0o600) for file in files)]


def database(paths: Paths, config: Config | None) -> Iterator[Finding]:
    """Whether the database is whole and of a version that this program knows."""
    part = "database"
    if config is not None and (url := postgres_url(config)) is not None:
        yield from _postgres(url)
        return
    try:
        file = paths.database if config is None else database_file(config)
    except StoreError as error:
        yield Finding(part, Level.FAIL, str(error), "correct the file")
        return
    if not file.exists():
        yield Finding(part, Level.OK, "none yet; the first start makes it")
        return
    try:
        schema = current(file)
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as raw:
            answer = str(raw.execute("pragma quick_check(1)").fetchone()[0])
    except (StoreError, sqlite3.Error) as error:
        yield Finding(part, Level.FAIL, str(error), "restore a backup with `laneway restore`, or move the file away")
        return
    if answer != "ok":
        yield Finding(part, Level.FAIL, f"{file} is damaged: {answer}", "restore a backup with `laneway restore`")
    elif schema != HEAD:
        yield Finding(part, Level.OK, f"{file.name}: schema {schema}; the next start brings it to {HEAD}")
    else:
        yield Finding(part, Level.OK, f"{file.name}: whole, schema {schema}, {file.stat().st_size / 1e6:.1f} MB")


def _postgres(url: str) -> Iterator[Finding]:
    try:
        from gateway.doctor import postgres  # only with PostgreSQL: its driver may not be installed
    except ImportError as error:
        fix = "pip install 'laneway[postgres]'"
        yield Finding("database", Level.FAIL, f"database.url names PostgreSQL, and {error.name} isn't installed", fix)
        return
    for level, text, fix in postgres.examine(url):
        yield Finding("database", Level(level), text, fix)


def lock(paths: Paths) -> Iterator[Finding]:
    """Who runs on the state folder."""
    try:
        held = is_held(paths.lock)
    except OSError as error:
        yield Finding("gateway", Level.FAIL, f"{paths.lock}: {error.strerror}", "check its owner and permissions")
        return
    if held:
        yield Finding("gateway", Level.OK, f"running as process {holder(paths.lock) or '?'}")
    else:
        yield Finding("gateway", Level.OK, "not running; start it with `laneway start` or `laneway chat`")


def configuration(config: Config) -> Iterator[Finding]:
    """Where the configuration is, and what looks wrong in it."""
    yield Finding("configuration", Level.OK, str(config.source or "no file: defaults and the environment"))
    for warning in config.warnings:
        yield Finding("configuration", Level.WARN, warning, "see `laneway config check`")


def providers(config: Config) -> Iterator[Finding]:
    """Whether each provider that is configured or named can be called."""
    agent = config.agent(config.default_agent_id)
    usable = set(agent.usable_providers())
    for name in agent.providers:
        if name in usable:
            yield Finding("providers", Level.OK, f"{name}: key present")
        else:
            fix = f"set its usual environment variable or models.providers.{name}.apiKey"
            yield Finding("providers", Level.FAIL, f"{name}: no key", fix)
    if not usable:
        fix = "export ANTHROPIC_API_KEY, OPENAI_API_KEY or another provider's key"
        yield Finding("providers", Level.WARN, "no provider has a key: the offline demo answers", fix)
    for agent_id in config.agent_ids():
        try:
            model = default_model(config, agent_id)
        except UnknownModel as error:
            yield Finding("providers", Level.FAIL, f"agent `{agent_id}`: {error}", "correct its model")
        else:
            yield Finding("providers", Level.OK, f"agent `{agent_id}` answers with {model.name}")


def binding(config: Config) -> Iterator[Finding]:
    """Whether the gateway listens to others than this machine."""
    host = config.gateway.host
    if _is_loopback(host):
        yield Finding("network", Level.OK, f"listens on {host}:{config.gateway.port}, for this machine only")
        return
    fix = "put a TLS proxy in front of it and keep the token secret, or set gateway.host to 127.0.0.1"
    yield Finding("network", Level.WARN, f"gateway.host is {host}: other machines can reach it, in plain HTTP", fix)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def children(config: Config) -> Iterator[Finding]:
    """Limits of sub-agents that are legal but dear (spec/subagents.md 6)."""
    for agent_id in config.agent_ids():
        limit = config.agent(agent_id).subagents.max_children
        if limit > MANY_CHILDREN:
            text = f"agent `{agent_id}` may have {limit} active sub-agents per session"
            yield Finding("sub-agents", Level.WARN, text, f"lower maxChildrenPerAgent to {MANY_CHILDREN} or less")


def confinement(config: Config) -> Iterator[Finding]:
    """Whether commands of the tool `exec` are held inside the workspace."""
    wanted = config.tools.exec.sandbox
    open_text = "exec isn't confined: commands run with all your rights"
    if wanted == "off":
        yield Finding("exec", Level.WARN, f"{open_text} (tools.exec.sandbox is off)", 'set it to "auto"')
    elif (found := sandbox.available()).program is not None:
        yield Finding("exec", Level.OK, "bubblewrap confines what commands write; they can read most files")
    elif wanted == "bubblewrap":
        fix = 'make it work, or set tools.exec.sandbox to "auto" or "off"'
        yield Finding("exec", Level.FAIL, f"tools.exec.sandbox asks for bubblewrap: {found.reason}", fix)
    else:
        yield Finding("exec", Level.WARN, open_text, found.reason)
    if config.tools.exec.ask == "off":
        fix = 'set tools.exec.ask to "on-miss"'
        yield Finding("exec", Level.WARN, "commands run without asking (tools.exec.ask is off)", fix)
