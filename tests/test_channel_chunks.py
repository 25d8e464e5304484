"""Documents cut into messages: every piece fits, every character survives, code and tables stay what they are."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from channels.chunks import split
from tests.support.markdown_documents import MarkdownDocument, any_document

MANY = settings(max_examples=500, deadline=None)


def fits(limit: int, text: str) -> bool:
    """A limit in characters."""
    return len(text) <= limit


def is_kept(source: str, pieces: list[str]) -> bool:
    """Whether every character of the source but blanks comes in its order in the pieces."""
    left = iter("".join("".join(pieces).split()))
    return all(character in left for character in "".join(source.split()))


def code_of(markdown: str) -> str:
    """Everything in code blocks, without blanks."""
    tokens = MarkdownIt("commonmark").disable(["html_block", "reference"]).enable("table").parse(markdown)
    return "".join("".join(token.content.split()) for token in tokens if token.type == "fence")


@MANY
@given(any_document(), st.integers(60, 4096))
def test_every_piece_fits_and_nothing_is_lost(document: MarkdownDocument, limit: int) -> None:
    pieces = split(document.markdown, lambda text: fits(limit, text))
    assert all(fits(limit, piece) and piece.strip() for piece in pieces)
    assert is_kept(document.markdown, pieces)


@MANY
@given(any_document(), st.integers(200, 2000))
def test_code_stays_code(document: MarkdownDocument, limit: int) -> None:
    """What a fence holds is in fences afterwards, and nothing else is."""
    pieces = split(document.markdown, lambda text: fits(limit, text))
    assert "".join(code_of(piece) for piece in pieces) == code_of(document.markdown)


@given(st.text(max_size=300), st.integers(1, 50))
def test_any_text_is_cut(text: str, limit: int) -> None:
    pieces = split(text, lambda part: fits(limit, part))
    assert all(fits(limit, piece) for piece in pieces)
    assert is_kept(text, pieces)


def cut(markdown: str, limit: int) -> list[str]:
    """Pieces of so many characters at most."""
    return split(markdown, lambda text: len(text) <= limit)


def test_what_fits_stays_as_it_is() -> None:
    assert cut("  a\r\n\r\n* b\n", 100) == ["  a\r\n\r\n* b\n"]
    assert cut(" \n\n ", 100) == []


def test_a_heading_and_an_announcement_stay_with_what_follows() -> None:
    text = "First paragraph.\n\n## Steps\n\nDo this:\n\n- one\n- two"
    assert cut(text, 40) == ["First paragraph.", "## Steps\n\nDo this:\n\n- one\n- two"]


def test_a_code_block_is_closed_and_opened_again() -> None:
    text = "Run it:\n\n```python title=x\n" + "\n".join(f"line({n})" for n in range(6)) + "\n```\n\nDone."
    assert cut(text, 62) == [
        "Run it:\n\n```python title=x\nline(0)\nline(1)\nline(2)\nline(3)\n```",
        "```python title=x\nline(4)\nline(5)\n```\n\nDone.",
    ]


def test_a_code_block_in_a_list_keeps_its_place() -> None:
    text = "- item\n\n  ```sh\n" + "\n".join(f"  echo {n}" for n in range(8)) + "\n  ```\n- next"
    assert cut(text, 50) == [
        "- item",
        "```sh\necho 0\necho 1\necho 2\necho 3\necho 4\n```",
        "```sh\necho 5\necho 6\necho 7\n```\n\n- next",
    ]


def test_a_table_s_header_comes_again() -> None:
    rows = [f"| {n} | value |" for n in range(6)]
    table = "\n".join(["| n | name |", "|---|---|", *rows])
    assert cut(table, 70) == [
        "\n".join(["| n | name |", "|---|---|", *rows[:3]]),
        "\n".join(["| n | name |", "|---|---|", *rows[3:]]),
    ]


def test_a_list_is_cut_between_items_and_outer_ones_first() -> None:
    text = "- one\n  - inner one\n  - inner two\n- two\n  - inner three\n  - inner four"
    assert cut(text, 60) == ["- one\n  - inner one\n  - inner two", "- two\n  - inner three\n  - inner four"]
    assert cut("- a\n  - bbbbb\n    - cccc\n    - dddd\n- e", 20)[1] == "- cccc\n- dddd\n- e"


def test_a_paragraph_is_cut_after_a_sentence_then_a_word() -> None:
    assert cut("One sentence is here. Another one follows it. A third.", 50) == [
        "One sentence is here. Another one follows it.",
        "A third.",
    ]
    assert cut("many words but no end of a sentence at all here", 30) == [
        "many words but no end of a",
        "sentence at all here",
    ]
    assert cut("word " * 3 + "**bold words** and more", 25) == ["word word word", "**bold words** and more"]
    assert cut("this is seven and then - five", 23) == ["this is seven and", "then - five"]


def test_a_long_word_is_cut_between_characters_as_people_see_them() -> None:
    family = "👩‍👩‍👧‍👦"
    pieces = cut(family * 20, 25)
    assert "".join(pieces) == family * 20
    assert all(len(piece) % len(family) == 0 for piece in pieces)


def test_quote_marks_come_again() -> None:
    assert cut("> " + "some words " * 8, 46) == ["> " + ("some words " * 4).strip()] * 2


def test_long_documents_are_cut_quickly() -> None:
    """Linear: four times the length takes not much more than four times as long."""
    part = "\n\n".join(
        [
            "## A heading",
            "This is a paragraph that says a thing or two about something. " * 6,
            "\n".join(f"- item {n} explains something in about eighty characters, more or less" for n in range(6)),
            "```python\n" + "value = compute(another_value, something)\n" * 20 + "```",
            "| name | value |\n|---|---|\n" + "\n".join("| something | 1234 |" for _ in range(8)),
        ]
    )
    short, long = (part + "\n\n") * (25_000 // len(part)), (part + "\n\n") * (100_000 // len(part))
    took = [min(_seconds(text) for _ in range(3)) for text in (short, long)]
    assert took[1] < 0.25
    assert took[1] < took[0] * 4 * 3


def _seconds(text: str) -> float:
    started = time.perf_counter()
    assert len(cut(text, 4000)) >= len(text) // 4000
    return time.perf_counter() - started


def test_what_would_take_a_backtracking_search_for_ever_doesn_t() -> None:
    started = time.perf_counter()
    for text in (
        "`" * 50_000,
        "**a " * 12_000,
        "[" * 50_000,
        "x" * 50_000,
        "> " * 20_000,
        "👩‍👧" * 15_000,
        "a\n" * 20_000,
    ):
        assert len(cut(text, 4000)) >= 10
    assert time.perf_counter() - started < 5
