"""HTML as Markdown, without what is no text: scripts, styles, navigation. Imported when the first page comes."""

from __future__ import annotations

import re

from bs4 import BeautifulSoup
from markdownify import MarkdownConverter

MAX_HTML = 400_000
"""Characters without scripts and styles; more of them would keep a thread busy for many seconds."""
_DROPPED = ("script", "style", "nav", "noscript", "template", "svg", "iframe", "form", "head")
_BULK = re.compile(r"<(script|style|svg)\b", re.IGNORECASE)
_END = {name: re.compile(rf"</{name}\s*>", re.IGNORECASE) for name in ("script", "style", "svg")}
_BLANK_LINES = re.compile(r"\n\s*\n\s*\n+")


def to_markdown(html: str) -> str:
    """The text of a page with its title, headings, lists, links and tables. Blocks; belongs into a thread."""
    html = _without_scripts(html)
    soup = BeautifulSoup(html[:MAX_HTML], "html.parser")
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    for element in soup(_DROPPED):
        element.decompose()
    try:
        body = MarkdownConverter(heading_style="ATX", strip=["img"]).convert_soup(soup)
    except RecursionError:  # nested deeper than any page that is meant to be read
        body = soup.get_text("\n", strip=True)
    text = _BLANK_LINES.sub("\n\n", body).strip()
    if len(html) > MAX_HTML:
        text += "\n\n… the rest of this long page is left out …"
    return f"# {title}\n\n{text}" if title and not text.startswith("# ") else text


def _without_scripts(html: str) -> str:
    """Takes out in one pass what fills most pages, so that the text comes before the limit."""
    kept: list[str] = []
    at = 0
    while (start := _BULK.search(html, at)) is not None:
        kept.append(html[at : start.start()])
        end = _END[start[1].casefold()].search(html, start.end())
        if end is None:
            return "".join(kept)
        at = end.end()
    return "".join(kept) + html[at:]
