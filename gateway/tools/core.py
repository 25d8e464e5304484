"""The tools that the gateway brings itself, but for those of sessions and sub-agents."""

from __future__ import annotations

from typing import Any

from gateway.tools.base import Tool
from gateway.tools.exec import EXEC_TOOL
from gateway.tools.files import FILE_TOOLS
from gateway.tools.memory import MEMORY_TOOLS
from gateway.tools.search import SEARCH_TOOLS
from gateway.tools.web import Fetcher, web_fetch_tool


def core_tools(fetcher: Fetcher) -> tuple[Tool[Any], ...]:
    """All of them.

    Args:
        fetcher: for `web_fetch`; whoever made it closes it when the gateway stops.
    """
    return (*FILE_TOOLS, *SEARCH_TOOLS, EXEC_TOOL, web_fetch_tool(fetcher), *MEMORY_TOOLS)
