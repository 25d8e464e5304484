"""Markdown as Telegram messages: a thousand documents lose nothing, and the stand-in refuses none of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from telegram.ext import ExtBot

from channels import chunks
from channels.telegram.content import CUT_OFF, ROOM
from channels.telegram.entities import units
from channels.telegram.markdown import LIMIT, Rendered, cleaned, render
from channels.telegram.source import GUARDS
from tests.standins.telegram import Person, TelegramStandIn
from tests.standins.telegram.reading import marked
from tests.standins.telegram.text import accept
from tests.support.markdown_documents import MarkdownDocument, any_document
from tests.support.telegram import client


def lost(document: MarkdownDocument, messages: Sequence[Rendered]) -> list[str]:
    """Words that stand neither in a text, in their order, nor behind it: a link's address, a code block's language."""
    text = "\n".join(message.text for message in messages)
    addresses = " ".join(f"{e.url} {e.language}" for message in messages for e in message.entities)
    gone: list[str] = []
    at = 0
    for word in document.words:
        if (found := text.find(word)) >= 0:
            gone += [f"{word} (out of order)"] if found < at else []
            at = found
        elif word not in addresses:
            gone.append(word)
    return gone


def missing(document: MarkdownDocument, messages: Sequence[Rendered]) -> list[str]:
    """Words that are in no source, from which a refused message is posted again."""
    sources = "\n".join(message.source for message in messages)
    return [word for word in document.words if word not in sources]


def refused(message: Rendered) -> list[str]:
    """What the stand-in has against a message."""
    taken = accept(message.text, message.to_json())
    changed = [] if taken.ignored or len(message.entities) <= len(taken.entities) else ["entities dropped"]
    return [*taken.ignored, *changed]


@pytest.mark.long
@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(any_document())
def test_a_thousand_documents_lose_nothing(document: MarkdownDocument) -> None:
    messages = render(document.markdown)
    assert lost(document, messages) == []
    assert missing(document, messages) == []
    for message in messages:
        assert units(message.text) <= LIMIT
        assert units(message.source) <= LIMIT
        assert len(message.entities) <= 100
        assert refused(message) == []


@pytest.mark.long
@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(any_document(), st.integers(300, ROOM))
def test_a_thousand_documents_in_pieces_lose_nothing(document: MarkdownDocument, room: int) -> None:
    """Issue, part 4: through the chunker too; each piece is sent marked if it may have arrived before."""
    parts = chunks.split(cleaned(document.markdown), lambda part: units(part) <= room)
    messages = [message for part in parts for message in render(part)]
    assert lost(document, messages) == []
    assert missing(document, messages) == []
    for part in parts:
        marked_part = render(f"{CUT_OFF}\n\n{part}")
        assert [refused(message) for message in marked_part] == [[]] * len(marked_part)


def test_documents_are_posted_by_the_real_client() -> None:
    """What python-telegram-bot sends of them arrives as it was rendered, and nothing is refused or repaired."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        tg = runner.run(stack.enter_async_context(TelegramStandIn()))
        bot = runner.run(stack.enter_async_context(client(tg)))
        ann = runner.run(tg.person("Ann"))

        @settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(any_document())
        def post(document: MarkdownDocument) -> None:
            for message in render(document.markdown):
                runner.run(_posted(tg, bot, ann, message))

        try:
            post()
        finally:
            runner.run(stack.aclose())


async def _posted(tg: TelegramStandIn, bot: ExtBot[None], ann: Person, message: Rendered) -> None:
    sent = await bot.send_message(ann.id, message.text, entities=message.message_entities())
    assert sent.text == accept(message.text, message.to_json()).text
    await bot.send_message(ann.id, message.source)  # as after a refusal
    await tg.assert_clean()
    tg.parts.world.chats[ann.id].messages.clear()


@given(st.text(max_size=200))
def test_any_text_is_rendered(text: str) -> None:
    for message in render(text):
        assert refused(message) == []


# ---------------------------------------------------------------------- by example


def shown(markdown: str) -> str:
    """What a reader sees of a document that fits one message."""
    (message,) = render(markdown)
    return marked(message.text, message.to_json())


@pytest.mark.parametrize(
    ("markdown", "reads"),
    [
        ("use <name> or <b>x</b>, a < b", "use <name> or <b>x</b>, a < b"),
        ("\\<b> costs \\$5", "<b> costs $5"),
        ("a || b || c", "a || b || c"),
        ("$HOME/bin:$PATH for $5 to $6", "$HOME/bin:$PATH for $5 to $6"),
        ("about ~5 to ~6", "about ~5 to ~6"),
        ("\\(\\alpha\\) and $\\beta^2$", "`α` and `β²`"),
        ("```sh\nprintf '\\[\\alpha\\]' $HOME <x>\n```", "```sh\nprintf '\\[\\alpha\\]' $HOME <x>\n```"),
        ("[a](https://x.org) [b](javascript:x)", "[a](https://x.org) b (javascript:x)"),
        ("[t](https://x.org 'words') [](https://y.org)", "t (https://x.org words) https://y.org"),
        ("[`code`](https://x.org)", "[code](https://x.org)"),
        ("**bold `code` bold**", "**bold **`code`** bold**"),
        ("- [ ] open\n- [x] done", "☐ open\n☑ done"),
        ("> a\n> > b", "> a\n> b"),
        ("1. Run:\n   ```\n   x\n   ```\n   Then y", "1. Run:\n```\nx\n```\nThen y"),
        ("| a | b |\n|---|---|\n| [l](https://x.org) | p | q |", None),
        (
            "[one][1] and [two]\n\n[1]: https://x.org\n[2]: https://y.org",
            "[one](https://x.org) and [two]\n[2]: https://y.org",
        ),
        ("&lt;b&gt; &amp; <!channel> \x00", "<b> & <!channel> \ufffd"),
        ("A\u030angström", "Ångström"),
    ],
)
def test_a_document_reads_as_it_was_meant(markdown: str, reads: str | None) -> None:
    if reads is None:
        assert "l (https://x.org)" in shown(markdown)
        assert "p | q" in shown(markdown)
    else:
        assert shown(markdown) == reads


def test_a_table_stays_a_table() -> None:
    text = "| name | n |\n|---|--:|\n| **one** | `1` |\n|| 2 |"
    assert shown(text) == "```\nname | n\n-----+--\none  | 1\n     | 2\n```"


def test_what_can_t_be_seen_is_no_message() -> None:
    assert render("") == []
    assert render(" \n\u200b\n\t") == []
    for source in ("[x]: https://y.org", "```", "~~~\n~~~", "`" * 40):
        assert [message.text for message in render(source)] == [source]


def test_wide_tables_and_many_links_are_cut_further() -> None:
    """A table is padded to its widest cell: what it renders to can be much longer than its source."""
    table = "| a | b |\n|---|---|\n" + "\n".join(f"| {n} | {'x' * (200 if n == 0 else 1)} |" for n in range(60))
    messages = render(table)
    assert len(messages) > 1
    assert all(units(message.text) <= LIMIT and message.text.startswith("a") for message in messages)
    links = render(" ".join(f"[{n}](https://x.org/{n})" for n in range(150)))
    assert [len(message.entities) for message in links] == [100, 50] or sum(len(m.entities) for m in links) == 150
    bold = render(" ".join(f"**b{n}** [l{n}](https://x.org/{n})" for n in range(80)))
    assert sum(entity.type == "text_link" for message in bold for entity in message.entities) == 80


def test_a_document_that_uses_all_guards_goes_out_as_it_is() -> None:
    (message,) = render(f"**bold** {GUARDS}")
    assert (message.text, message.entities) == (f"**bold** {GUARDS}", ())
