"""The house rules that a machine can check: who imports whom, where everything is caught, how long a file may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = ("gateway", "subagents", "channels")
LONGEST_FILE = 500
USUAL_FILE = 300
LONGEST_FUNCTION = 60
BORDERS = {"gateway/agent/turn.py", "gateway/delivery.py", "gateway/jobs/runner.py"}
"""A turn, a channel, a job."""
ENTRY = {"gateway/cli.py", "gateway/cli/app.py"}


def sources(*parts: str) -> Iterator[tuple[str, ast.Module]]:
    """Path and syntax tree of every module."""
    for part in parts:
        for file in sorted((ROOT / part).rglob("*.py")):
            yield str(file.relative_to(ROOT)), ast.parse(file.read_text("utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    """Names of the modules that one imports, wherever it does so."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("part", PARTS)
def test_imports_point_one_way(part: str) -> None:
    """Architecture, where things live: channels → gateway ← subagents; `gateway` imports neither by name."""
    others = {name for name in PARTS if name not in (part, "gateway")}
    wrong = [
        f"{path}: {name}"
        for path, tree in sources(part)
        for name in imported(tree)
        if name.split(".")[0] in others or name.split(".")[0] == "tests"
    ]
    assert not wrong


def test_everything_is_caught_at_named_borders_only() -> None:
    """Style 6: `except Exception` at three named borders only; never a bare except."""
    wrong: list[str] = []
    for path, tree in sources(*PARTS):
        for node in ast.walk(tree):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)} if node.type else {"bare"}
            if caught & {"bare", "Exception"} and path not in BORDERS:
                wrong.append(f"{path}:{node.lineno}")
            if "BaseException" in caught and not _passes_on(node):
                wrong.append(f"{path}:{node.lineno} swallows BaseException")
    assert not wrong


def _passes_on(handler: ast.ExceptHandler) -> bool:
    """Whether a handler raises again, or keeps what it caught for somebody."""
    raises = any(isinstance(node, ast.Raise) for node in ast.walk(handler))
    return raises or handler.name is not None


def test_borders_log_what_they_catch() -> None:
    """Style 6: … where it is logged with the run id and recorded."""
    for path, tree in sources("gateway"):
        if path in BORDERS:
            handlers = [
                node
                for node in ast.walk(tree)
                if isinstance(node, ast.ExceptHandler)
                and isinstance(node.type, ast.Name)
                and node.type.id == "Exception"
            ]
            assert len(handlers) == 1, path
            assert "log.exception" in ast.unparse(handlers[0]), path


def test_files_and_functions_are_short() -> None:
    """Style 1: most files under 300 lines, none over 500; no function over 60."""
    files, functions = dict[str, int](), dict[str, int]()
    for path, tree in sources(*PARTS):
        files[path] = len((ROOT / path).read_text("utf-8").splitlines())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions[f"{path}:{node.name}"] = (node.end_lineno or node.lineno) - node.lineno + 1
    assert {path: lines for path, lines in files.items() if lines > LONGEST_FILE} == {}
    long = {name: lines for name, lines in functions.items() if lines > LONGEST_FUNCTION and "/migrations/" not in name}
    assert long == {}
    assert sum(lines > USUAL_FILE for lines in files.values()) <= len(files) // 10


def test_every_module_says_what_it_is() -> None:
    """Style 2: a part says in its module's docstring what it is."""
    silent = [
        path
        for path, tree in sources(*PARTS)
        if not path.endswith("__init__.py") and tree.body and not ast.get_docstring(tree)
    ]
    assert not silent


def test_people_s_tools_stay_out_of_the_gateway() -> None:
    """Issue, benchmarks: `rich` and `typer` never in the gateway process; alembic only where something is migrated."""
    wrong = [
        f"{path}: {name}"
        for path, tree in sources("gateway", "subagents")
        for name in imported(tree)
        if (name.split(".")[0] in ("rich", "typer") and "/cli" not in path and path not in ENTRY)
        or (name.split(".")[0] == "alembic" and "migrat" not in path)
    ]
    assert not wrong


def test_no_sleep_but_where_nothing_could_wake() -> None:
    """Style 7: no sleep and no poll on a path that an event can wake; what is left stands here with its reason."""
    allowed = {
        "gateway/agent/models.py",  # the wait between tries
        "gateway/agent/rates.py",  # a lease is renewed by the clock
        "gateway/jobs/noop.py",  # to wait is its work
        "gateway/tools/processes.py",  # the end of a process that isn't ours tells nobody
        "gateway/store/lock.py",  # the kernel wakes only those who would wait without end
        "gateway/tools/shim.py",
        "gateway/events.py",  # nothing tells when a database server is back
        "gateway/members.py",  # the same
        "gateway/store/notify.py",  # the same
        "gateway/store/postgres.py",  # the same
        "subagents/rooms.py",  # the wait between tries
        "subagents/cards.py",  # a burst of events is one look at the tables
    }
    found = {
        path
        for path, tree in sources("gateway", "subagents")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "sleep" and "/cli" not in path
    }
    assert found <= allowed, found - allowed


def test_imports_inside_functions_say_why() -> None:
    """Common: no import inside a function except for what is heavy and rarely needed, with the reason beside it."""
    wrong: list[str] = []
    for path, tree in sources(*PARTS):
        lines = (ROOT / path).read_text("utf-8").splitlines()
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    beside = lines[max(0, node.lineno - 2) : node.lineno]
                    if not any("#" in line for line in beside):
                        wrong.append(f"{path}:{node.lineno}")
    assert not wrong


def test_no_cancellation_is_lost() -> None:
    """`asyncio.wait_for` swallows one that comes as it returns (Python 3.11); `asyncio.timeout` does not."""
    found = [
        path
        for path, tree in sources(*PARTS)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "wait_for" and ast.unparse(node.value) == "asyncio"
    ]
    assert found == []
