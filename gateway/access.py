"""Access: who may speak to the assistant on a platform, and which agent answers (spec/channels.md 2, 3).

Pure decisions; what they depend on is looked up by `reception.py`. Commands and buttons obey the same rules as
messages. The defaults let nobody in whom an owner hasn't.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import Enum, auto

from gateway.config import Config
from gateway.config.channels import Binding, Policy
from gateway.routes import Incoming


class Verdict(Enum):
    """What becomes of a message."""

    ALLOW = auto()
    """Its sender may speak here, and speaks to the assistant."""
    PAIR = auto()
    """He may ask an owner to let him in."""
    IGNORE = auto()
    """It isn't for the assistant, or nobody may hear of it."""


def judge(
    policy: Policy, incoming: Incoming, names: Collection[str], *, owner: bool, paired: bool, takes_part: bool
) -> Verdict:
    """Decides on a message.

    Args:
        policy: of the account that it came to.
        incoming: the message.
        names: the ids by which settings may mean its chat.
        owner: its sender is one of `owners`.
        paired: an owner has approved him.
        takes_part: the assistant has been spoken to in this thread before.
    """
    if incoming.kind == "direct":
        return _direct(policy, incoming.peer, owner=owner, paired=paired)
    if not may_speak_in_group(policy, incoming, names, owner=owner):
        return Verdict.IGNORE
    in_thread = takes_part and incoming.route.thread is not None
    wanted = incoming.addressed or in_thread or not policy.mention_needed(names)
    return Verdict.ALLOW if wanted else Verdict.IGNORE


def may_speak_in_group(policy: Policy, incoming: Incoming, names: Collection[str], *, owner: bool) -> bool:
    """Whether somebody may speak in this group at all. Pairing never opens one."""
    settings = policy.settings_of(names)
    if policy.group == "disabled" or (policy.group == "allowlist" and settings is None):
        return False
    allowed = settings.allow_from if settings else None
    return owner or allowed is None or incoming.peer in allowed


def agent_for(config: Config, incoming: Incoming, names: Collection[str]) -> str:
    """The agent that answers: the most exact of `bindings`, else the default one. `names` are those of `judge`."""
    known = config.agent_ids()
    fitting = [each for each in config.bindings if _matches(each, incoming, names) and each.agent_id in known]
    best = max(fitting, key=_exactness, default=None)
    return best.agent_id if best else config.default_agent_id


def is_owner(owners: Iterable[str], channel: str, peer: str) -> bool:
    """Whether somebody is listed under `owners`."""
    return f"{channel}:{peer}" in owners


def _direct(policy: Policy, peer: str, *, owner: bool, paired: bool) -> Verdict:
    if policy.dm == "disabled":
        return Verdict.IGNORE
    if owner or policy.dm == "open" or peer in policy.allow_from:
        return Verdict.ALLOW
    if policy.dm == "pairing":
        return Verdict.ALLOW if paired else Verdict.PAIR
    return Verdict.IGNORE


def _matches(binding: Binding, incoming: Incoming, names: Collection[str]) -> bool:
    match, route = binding.match, incoming.route
    return (
        match.channel == route.channel
        and match.account in (None, route.account)
        and (match.chat is None or match.chat in names)
        and match.peer in (None, incoming.peer)
    )


def _exactness(binding: Binding) -> tuple[bool, bool, bool]:
    """Peer goes before chat, chat before account (spec/channels.md 3)."""
    match = binding.match
    return (match.peer is not None, match.chat is not None, match.account is not None)
