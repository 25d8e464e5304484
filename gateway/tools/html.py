"""HTML as Markdown, without what is no text: scripts, styles, navigation. Imported when the first page comes."""

from __future__ import annotations

import re

from bs4 import BeautifulSoup
from markdownify import MarkdownConverter

_DROPPED = ("script", "style", "nav", "noscript", "template", "svg", "iframe", "form", "head")
_BLANK_LINES = re.compile(r"\n\s*\n\s*\n+")


def to_markdown(html: str) -> str:
    """The text of a page with its title, headings, lists, links and tables. Blocks; belongs into a thread."""
    soup = BeautifulSoup(html, "html.parser")
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    for element in soup(_DROPPED):
        element.decompose()
    try:
        body = MarkdownConverter(heading_style="ATX", strip=["img"]).convert_soup(soup)
    except RecursionError:  # nested deeper than any page that is meant to be read
        body = soup.get_text("\n", strip=True)
    text = _BLANK_LINES.sub("\n\n", body).strip()
    return f"# {title}\n\n{text}" if title and not text.startswith("# ") else text
