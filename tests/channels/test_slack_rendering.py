"""Markdown in Slack: nothing is lost, nothing is refused, nobody is called together (spec/channels.md 5)."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels import chunks
from channels.slack import blocks, markdown
from channels.slack.channel import SlackChannel
from gateway.cards import Button, Card, CardRow
from gateway.config import Config
from gateway.plugins import Registry
from tests.standins.slack import Fault, Options
from tests.standins.slack.methods.content import content_of
from tests.standins.slack.texts import UPDATE_TEXT_LIMIT
from tests.standins.slack.workspace import Workspace
from tests.support.markdown_documents import MarkdownDocument, any_document, long_documents
from tests.support.model_script import say
from tests.support.slack_gateway import GENERAL, slack_room

WS = Workspace(Options())
KNOWN = WS.add_user("ann").id
CONTROL = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 127])
BUTTON = Button("Allow", "token", "primary")
TABLE = "| name | size |\n|:---|---:|\n" + "\n".join(f"| `file{n}` | {n} |" for n in range(500))
CODE = "```python\n" + "\n".join(f"    print({n}, '<!doctype html>', a < b)" for n in range(400)) + "\n```"


def accepted(**arguments: object) -> None:
    """The stand-in takes this content as it is, and nobody is called."""
    content_of(WS, dict(arguments), limit=UPDATE_TEXT_LIMIT)
    assert WS.faults == []


def bare(text: str) -> str:
    """What a reader sees, without blanks."""
    return "".join(text.replace(markdown.BREAK, "").translate(CONTROL).split())


def is_kept(source: str, pieces: list[str]) -> bool:
    """Whether every character of the source comes in its order in the pieces."""
    left = iter(bare("".join(pieces)))
    return all(character in left for character in bare(source))


@settings(max_examples=1000, deadline=None)
@given(any_document(), st.integers(60, markdown.ROOM))
def test_5_every_piece_of_any_document_is_taken_and_nothing_is_lost(document: MarkdownDocument, room: int) -> None:
    """Issue: ≥ 1,000 generated documents through renderer and chunker: nothing is lost, nothing is refused."""
    text = f"{document.markdown} <!channel> <!here|now> <@U0NOBODY> <@{KNOWN}>"
    pieces = chunks.split(text, lambda piece: markdown.fits(piece, room))
    sent = [markdown.harmless(piece, {KNOWN}) for piece in pieces]
    for piece in sent:
        assert len(piece) <= markdown.LIMIT
        if bare(piece):
            accepted(markdown_text=piece)
    assert is_kept(text, sent)


@settings(max_examples=200, deadline=None)
@given(any_document())
def test_7_any_text_in_cards_buttons_and_plain_is_taken(document: MarkdownDocument) -> None:
    """Channels 5, 7, 8: labels and errors are a model's: escaped, within the limits of an edit; plain text whole."""
    text = document.markdown[: markdown.ROOM]
    rows = tuple(
        CardRow(str(n), "🔄", text[n * 9 : n * 9 + 80] or "x", text[:200], buttons=(BUTTON, BUTTON)) for n in range(12)
    )
    card = Card(text[:100] or "x", rows, footer=text[:100])
    accepted(text=blocks.notice(card.text()), blocks=blocks.card_blocks(card))
    accepted(text=blocks.notice(text), blocks=blocks.text_blocks(text, (BUTTON,)))
    accepted(**blocks.private(text * 3))
    if text.strip():
        plain = blocks.bare(text)
        accepted(**plain)
        assert "".join(block["text"]["text"] for block in plain["blocks"]) == text


@settings(max_examples=200, deadline=None)
@given(any_document(), st.data())
def test_5_what_is_streamed_only_grows(document: MarkdownDocument, data: st.DataObject) -> None:
    """Channels 5: a stream is appended to: what is made harmless of a beginning is the beginning of what follows."""
    text = f"{document.markdown} <!channel> <@U0NOBODY> {document.markdown}"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    shown = [markdown.harmless(text[:cut], {KNOWN}, partial=True) for cut in cuts]
    for before, after in pairwise([*shown, markdown.harmless(text, {KNOWN})]):
        assert after.startswith(before)


@settings(max_examples=15, deadline=None)
@given(st.lists(long_documents(), min_size=3, max_size=6))
def test_5_long_answers_are_cut_as_slack_needs_it(documents: list[MarkdownDocument]) -> None:
    """Channels 5: chunks at borders, by the channel's own limit."""
    text = "\n\n".join(document.markdown for document in documents)
    pieces = SlackChannel(Registry(config=Config()), {}).split(text)
    assert is_kept(text, pieces)
    assert all(len(markdown.harmless(piece)) <= markdown.LIMIT for piece in pieces)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<!channel> and <!subteam^S1|@ops>", "<\u2060!channel> and <\u2060!subteam^S1|@ops>"),
        ("<@U0NOBODY> and <@U0ANN>", "<\u2060@U0NOBODY> and <@U0ANN>"),
        ("<!doctype html><!-- x --> List<@NonNull T> <#C1|x>", "<!doctype html><!-- x --> List<@NonNull T> <#C1|x>"),
        ("@channel <https://a.bc|here>", "@channel <https://a.bc|here>"),
    ],
)
def test_5_only_what_calls_people_is_changed(text: str, shown: str) -> None:
    """Channels 5: code stays what it is; known people can be mentioned."""
    assert markdown.harmless(text, {"U0ANN"}) == shown


async def test_5_a_long_answer_comes_in_several_posts_in_order(tmp_path: Path) -> None:
    """Channels 5: tables repeat their header, code its fence; all pieces stand below each other in the thread."""
    text = f"# Report\n\n{TABLE}\n\nAnd the code:\n\n{CODE}\n\nThat's <!channel> all."
    async with slack_room(tmp_path) as room:
        room.p.on(reply=say(text), role="main")
        thread = await room.asks("report")
        await room.ws.wait_message("That's", thread=thread)
        await room.settled(thread)
        texts = [post.text for post in room.ws.posts(GENERAL, thread)]
        assert len(texts) > 2 and is_kept(text, texts)
        assert all(piece.startswith(("# Report", "| name | size |\n|", "```python", "And the code")) for piece in texts)
        assert sum("<!doctype html>" in piece for piece in texts) > 1
        assert texts[-1].endswith("all.") and "<\u2060!channel>" in texts[-1]


async def test_5_a_rejected_rendering_falls_back_to_plain_text(tmp_path: Path) -> None:
    """Channels 5: a rejected rendering falls back to plain text and loses nothing."""
    text = "**bold** & <b>\n\n" + "word " * 1200
    async with slack_room(tmp_path, account={"dmPolicy": "open"}) as room:
        room.p.on(reply=say(text, hold="rest", hold_after=200), role="main", user="slowly$")
        room.p.on(reply=say(text), role="main")
        room.ws.next("chat.postMessage", Fault(error="invalid_blocks"))
        await room.bob.says("dm", "hello")
        posted = await room.ws.wait_message("bold", channel=room.bob.dm)
        assert "".join(block["text"]["text"] for block in posted.blocks) == text.strip()
        room.ws.next("chat.update", Fault(error="invalid_blocks"))
        room.ws.next("chat.appendStream", Fault(drop=True, applied=True))
        thread = await room.asks("slowly")
        await room.ws.wait_calls("chat.appendStream")
        room.p.model.release("rest")
        await room.ws.wait_calls("chat.update", 2)
        await room.settled(thread)
        [edited] = room.ws.posts(GENERAL, thread)
        assert "".join(block["text"]["text"] for block in edited.blocks) == text.strip()
