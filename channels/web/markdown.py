"""Markdown of models and tools as HTML that can't do anything.

HTML in a text stays text; a link leads to http, https or mail or isn't one; a picture is a link to it, because loading
it would tell its server who reads. What comes out needs no script but for the copy button of a code block.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.renderer import RendererHTML
    from markdown_it.token import Token

SCHEMES = ("http", "https", "mailto")
KEPT = 1000
"""Rendered texts that are remembered: a page is asked for again and again, its texts don't change."""
LONGEST_KEPT = 20_000


def render(text: str, *, lines: bool = False) -> str:
    """A text as HTML.

    Args:
        text: Markdown.
        lines: a line stays a line, as in texts of the gateway itself.
    """
    return _kept(text, lines) if len(text) <= LONGEST_KEPT else _render(text, lines)


@lru_cache(maxsize=KEPT)
def _kept(text: str, lines: bool) -> str:
    return _render(text, lines)


def _render(text: str, lines: bool) -> str:
    return str(parser(lines).render(text))


@cache
def parser(lines: bool = False) -> MarkdownIt:
    """The parser, with our rules."""
    from markdown_it import MarkdownIt  # lazy: a gateway whose page nobody opens never needs it

    made = MarkdownIt(
        "commonmark", {"html": False, "linkify": False, "typographer": False, "breaks": lines, "maxNesting": 100}
    )
    made.enable(["table", "strikethrough"])
    made.validateLink = harmless
    made.add_render_rule("link_open", _link_open)
    made.add_render_rule("image", _image)
    made.add_render_rule("fence", _code)
    made.add_render_rule("code_block", _code)
    made.add_render_rule("table_open", _table_open)
    made.add_render_rule("table_close", _table_close)
    return made


def harmless(url: str) -> bool:
    """Whether a link may lead there."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return False
    return parts.scheme.lower() in SCHEMES and url.isprintable()


def escape(text: str) -> str:
    """A text inside HTML, also inside an attribute."""
    return (
        text.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace('"', "&quot;")
        .replace("'", "&#39;")
    )


_Env = MutableMapping[str, Any]


def _link_open(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: _Env) -> str:
    token = tokens[index]
    token.attrSet("target", "_blank")
    token.attrSet("rel", "noopener noreferrer nofollow")
    return self.renderToken(tokens, index, options, env)


def _image(self: RendererHTML, tokens: Sequence[Token], index: int, _options: Any, _env: _Env) -> str:
    token = tokens[index]
    source = str(token.attrs.get("src", ""))
    name = escape(token.content or source)
    href, title = escape(source), token.attrs.get("title")
    more = f' title="{escape(str(title))}"' if title else ""
    return f'<a href="{href}"{more} target="_blank" rel="noopener noreferrer nofollow">🖼 {name}</a>'


def _code(self: RendererHTML, tokens: Sequence[Token], index: int, _options: Any, _env: _Env) -> str:
    token = tokens[index]
    language = escape((token.info or "").strip().split(" ")[0][:40])
    return (
        f'<figure class="code"><figcaption>{language or "text"}'
        '<button type="button" class="copy" data-copy>Copy</button></figcaption>'
        f'<pre tabindex="0"><code>{escape(token.content)}</code></pre></figure>\n'
    )


def _table_open(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: _Env) -> str:
    return '<div class="wide" tabindex="0">' + self.renderToken(tokens, index, options, env)


def _table_close(self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: _Env) -> str:
    return self.renderToken(tokens, index, options, env) + "</div>"
