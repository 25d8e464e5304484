"""The methods of the web API, by family. Each module registers its own; this package lists them all."""

from __future__ import annotations

from tests.standins.slack.methods import agents, apps, chat, conversations, files, reactions, streams
from tests.standins.slack.methods.registry import METHODS, Method, Token

__all__ = ["METHODS", "Method", "Token"]

_FAMILIES = (agents, apps, chat, conversations, files, reactions, streams)
