"""Everything that the site consists of, on one screen. How to add to it: `site.py`."""

from __future__ import annotations

from channels.web import agents, chat, conversations, decide, files, now, palette, people, signin, stream
from channels.web.sending import Sending
from channels.web.signin import SignIns
from channels.web.site import Site


def site(sign_ins: SignIns) -> Site:
    """The site of one gateway."""
    return Site(
        pages=(chat.HOME, chat.CHAT, now.NOW, people.PAGE),
        fragments=(conversations.LIST, agents.PANEL, agents.LOG_VIEW, chat.STATE, *now.FRAGMENTS, people.LIST),
        actions=(
            *Sending().actions(),
            conversations.RENAME,
            *agents.ACTIONS,
            *decide.ACTIONS,
            signin.SIGN_OUT,
        ),
        sources=(chat.LOG, chat.NEW, stream.EVENTS, palette.PALETTE, files.FILE),
        sign_in=sign_ins.page,
    )
