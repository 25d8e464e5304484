"""What the allow-list of `exec` takes for a plain command, and what it lets pass."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.tools.argv import allowed, fault, parse, pattern_for


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("git status", ("git", "status")),
        ("  ls   -la\t/opt ", ("ls", "-la", "/opt")),
        ("echo 'a b' \"c d\" e''f", ("echo", "a b", "c d", "ef")),
        ("echo '$HOME; rm' ''", ("echo", "$HOME; rm", "")),
        ("./run.sh --x=1,2 a@b:c%d+e", ("./run.sh", "--x=1,2", "a@b:c%d+e")),
        ("git log 'ä ö'", ("git", "log", "ä ö")),
    ],
)
def test_plain_commands(command: str, words: tuple[str, ...]) -> None:
    assert parse(command) == words


@pytest.mark.parametrize(
    "command",
    [
        "",
        " ",
        "ls; rm x",
        "ls && rm x",
        "ls || rm x",
        "ls | sh",
        "ls &",
        "ls\nrm x",
        "ls > x",
        "ls < x",
        "ls 2>&1",
        "echo $(id)",
        "echo `id`",
        "echo $HOME",
        'echo "$HOME"',
        'echo "`id`"',
        'echo "a\\"; id"',
        "echo \\; id",
        "ls *.py",
        "ls ?",
        "ls [ab]",
        "ls ~",
        "ls ~root/x",
        "echo {a,b}",
        "echo a#b",
        "echo # x",
        "(id)",
        "{ id; }",
        "! true",
        "A=1 id",
        "'A=1' id",
        "PATH+=:x id",
        "if true",
        "time ls",
        "echo 'unclosed",
        'echo "unclosed',
        "echo $'\\x41'",
        'echo "a!b"',
        "echo ^a^b",
        "echo 'a\nb'",
        "ls\u00a0-la",
        "ls\u2028-la",
        "ls ä",
        "ls\0",
        "ls\r",
        "''",
    ],
)
def test_everything_else_is_unknown(command: str) -> None:
    assert parse(command) is None
    assert allowed(command, ["*", "* *", command]) is None
    assert pattern_for(command) is None


@pytest.mark.parametrize(
    ("command", "pattern", "passes"),
    [
        ("git status", "git status", True),
        ("git status -s", "git status", False),
        ("git", "git status", False),
        ("git status", "git *", True),
        ("git", "git *", True),
        ("git log --oneline -5", "git *", True),
        ("gitevil", "git *", False),
        ("ls", "ls *", True),
        ("ls a b c", "ls *", True),
        ("ls a b", "ls ?", False),
        ("ls a", "ls ?", True),
        ("cat notes/a.md", "cat notes/*.md", True),
        ("cat notes/a.md x", "cat notes/*.md", False),
        ("cat notes/.md", "cat notes/*.md", True),
        ("cat notes/a.txt", "cat notes/*.md", False),
        ("cat a.md b.md", "cat *.md *.md", True),
        ("npm run test", "npm run * *", True),
        ("npm run", "npm run * *", False),
        ("npm run test --watch", "npm run *", True),
        ("echo '*'", "echo '*'", True),
        ("echo x", "echo '*'", False),
        ("echo 'a b'", "echo 'a b'", True),
        ("/usr/bin/git status", "git status", False),
        ("/opt/git status", "*git status", False),
        ("mygit status", "*git status", True),
        ("anything", "*", True),
        ("anything at all", "*", False),
        ("anything at all", "* *", True),
        ("git status", "git status; id", False),
        ("git status", "", False),
        ("git 'sta tus'", "git sta*", True),
    ],
)
def test_patterns(command: str, pattern: str, passes: bool) -> None:
    assert (allowed(command, [pattern]) is not None) is passes


def test_a_faulty_pattern_is_named() -> None:
    assert fault("git *") is None
    assert "ls | sh" in (fault("ls | sh") or "")


def test_what_is_offered_is_exactly_the_command() -> None:
    pattern = pattern_for("git commit -m 'it is * done'")
    assert pattern is not None
    assert allowed("git commit -m 'it is * done'", [pattern])
    assert not allowed("git commit -m 'it is all done'", [pattern])
    assert not allowed("git commit -m 'it is * done' --no-verify", [pattern])


def test_many_stars_take_no_time() -> None:
    assert allowed("echo " + "a" * 20_000, ["echo " + "*a" * 50 + "b"]) is None


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z"), include_characters=" *?")), min_size=1)
)
def test_an_offered_pattern_matches_its_own_command(words: list[str]) -> None:
    command = shlex.join(["echo", *words])
    if (pattern := pattern_for(command)) is not None:
        assert allowed(command, [pattern]) == ("echo", *words)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab -'\"$`\\;&|<>(){}[]*?~#!=%^\n\t", max_size=12))
def test_the_shell_agrees_on_every_command_that_is_understood(tail: str) -> None:
    """What is parsed is, word for word, what bash makes of it."""
    words = parse(f"printf {tail}")
    if words is None:
        return
    line = f"set -- {tail}\nprintf '%s\\0' \"$@\""
    said = subprocess.run(["/bin/bash", "-c", line], capture_output=True, text=True, check=True).stdout  # noqa: S603
    assert tuple(said.split("\0")[:-1]) == words[1:] or words[1:] == ()
