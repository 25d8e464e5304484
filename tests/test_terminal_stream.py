"""Answers while they are written: blocks are printed once, whole and in order, whatever the pieces are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.terminal.stream import AnswerStream, finished_length

BLOCKS = (
    "# Title\n\n",
    "A paragraph\nof two lines.\n\n",
    "- one\n- two\n\n  still two\n\n",
    "```py\n# no heading\n\nx = 1\n```\n",
    "| a | b |\n|---|---|\n| 1 | 2 |\n\n",
    "> quoted\n\n",
    "***\n",
    "1. first\n2. second\n\n",
)


@pytest.mark.parametrize(
    ("text", "finished"),
    [
        ("", ""),
        ("One paragraph", ""),
        ("One.\n\nTwo", "One.\n\n"),
        ("- a\n\n- b\n\n", ""),
        ("- a\n\nNext", "- a\n\n"),
        ("```\na\n\nb\n", ""),
        ("```\na\n```\nText", "```\na\n```\n"),
        ("# T\ntext", "# T\n"),
    ],
)
def test_a_block_is_finished_when_another_follows(text: str, finished: str) -> None:
    assert text[: finished_length(text)] == finished


@given(st.lists(st.sampled_from(BLOCKS), max_size=8), st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_pieces_together_are_the_text(blocks: list[str], sizes: list[int]) -> None:
    text = "".join(blocks)
    stream, shown, rest, turn = AnswerStream("1"), "", text, 0
    while rest:
        size = sizes[turn % len(sizes)]
        turn += 1
        stream.append(rest[:size])
        rest = rest[size:]
        shown += stream.take_finished()
        assert shown + stream.open == text[: len(text) - len(rest)]
    assert shown + stream.take_rest(text) == text


def test_a_repeated_answer_is_not_printed_twice() -> None:
    stream = AnswerStream("1")
    stream.append("One.\n\nTwo.\n\nThr")
    assert stream.take_finished() == "One.\n\nTwo.\n\n"
    stream.replace("")
    assert (stream.take_finished(), stream.open) == ("", "")
    stream.append("One.\n\n")
    assert (stream.take_finished(), stream.open) == ("", "")
    stream.append("Two.\n\nThree")
    assert (stream.take_finished(), stream.open) == ("", "Three")
    assert stream.take_rest("One.\n\nTwo.\n\nThree.") == "Three."


def test_another_answer_is_printed_whole() -> None:
    stream = AnswerStream("1")
    stream.append("One.\n\nTwo")
    stream.take_finished()
    stream.replace("Quite another")
    assert stream.open == "Quite another"
    assert stream.take_rest("Quite another one.") == "Quite another one."
