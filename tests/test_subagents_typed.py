"""How `/subagents …` is read: quotes, options, limits, and whatever else is typed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.commands.base import CommandError
from subagents.commands import first_word, log_arguments, spawn_arguments, unquoted
from tests.support.pilot import pilot


@pytest.mark.parametrize(
    ("typed", "word", "rest"),
    [
        ('"deploy staging" go on', "deploy staging", "go on"),
        ("'a b' c", "a b", "c"),
        ("don't stop", "don't", "stop"),
        ('"open end', '"open', "end"),
        ("“x y”", "x y", ""),
        ("", "", ""),
        ("1\nline", "1", "line"),
    ],
)
def test_first_word(typed: str, word: str, rest: str) -> None:
    """Quotes hold words together; unbalanced ones are letters."""
    assert first_word(typed) == (word, rest)


def test_one_pair_of_quotes_around_a_message_goes() -> None:
    """Only a pair around the whole of it."""
    assert unquoted('"it\'s fine"') == "it's fine"
    assert unquoted('"a" and "b"') == '"a" and "b"'
    assert unquoted('"') == '"'


def test_log_arguments() -> None:
    """`<target> [limit] [tools]`, the last two in any order."""
    assert log_arguments("3") == ("3", 20, False)
    assert log_arguments("3 10") == ("3", 10, False)
    assert log_arguments("3 tools 10") == ("3", 10, True)
    assert log_arguments('"build 10" tools') == ("build 10", 20, True)
    assert log_arguments("tools") == ("tools", 20, False)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=60))
def test_reading_never_fails_in_another_way(text: str) -> None:
    """Fuzz: whatever is typed is read, or refused with a sentence."""
    first_word(text)
    unquoted(text)
    for read in (log_arguments, spawn_arguments):
        try:
            read(text)
        except CommandError as error:
            assert str(error)


async def test_fuzzed_commands_never_leave_anything_behind(tmp_path: Path) -> None:
    """Fuzz: slash commands with arbitrary targets answer with a sentence and create nothing."""
    words = st.text(max_size=30).filter(lambda text: all(not 0xD800 <= ord(char) < 0xE000 for char in text))
    names = st.sampled_from(["list", "info", "log", "send", "steer", "stop", "pause", "resume", "retry", "tree", "x"])
    typed: list[str] = []

    @settings(max_examples=60, deadline=None)
    @given(names, words)
    def collect(name: str, word: str) -> None:
        typed.append(f"/subagents {name} {word}")

    await asyncio.to_thread(collect)
    async with pilot(tmp_path) as p:
        for text in typed:
            assert (await p.say(text))["reply"], text
        assert await p.runs() == []
