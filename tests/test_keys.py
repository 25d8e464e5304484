"""Session keys by `session.dmScope` (spec/channels.md 3), and that the terminal follows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli.context import CliContext
from gateway.inbound import KEY
from gateway.keys import DmScope, direct_key


@pytest.mark.parametrize(
    ("scope", "owner", "key"),
    [
        ("auto", True, "agent:main:main"),
        ("auto", False, "agent:main:slack:dm:U1"),
        ("main", False, "agent:main:main"),
        ("per-peer", True, "agent:main:dm:U1"),
        ("per-channel-peer", True, "agent:main:slack:dm:U1"),
    ],
)
def test_direct_messages_go_where_the_scope_says(scope: DmScope, owner: bool, key: str) -> None:
    assert direct_key(scope, "main", "slack", "U1", owner=owner) == key


def test_a_strange_peer_still_gives_a_key() -> None:
    assert KEY.fullmatch(direct_key("per-peer", "main", "x", "a b:\n/ü", owner=False))


def test_the_terminal_talks_in_the_session_that_the_configuration_names(tmp_path: Path) -> None:
    (tmp_path / "config.json5").write_text('{ session: { dmScope: "per-channel-peer" } }')
    context = CliContext({"LANEWAY_HOME": str(tmp_path)})
    assert context.default_session() == "agent:main:terminal:dm:local"
