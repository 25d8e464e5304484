"""Everything that the site consists of, on one screen. How to add to it: `site.py`."""

from __future__ import annotations

from channels.web import agents, chat, conversations, decide, files, now, palette, people, signin, stream
from channels.web.room import again, configuration, health, jobs, run, runs, sessions, usage
from channels.web.sending import Sending
from channels.web.signin import SignIns
from channels.web.site import Site


def site(sign_ins: SignIns) -> Site:
    """The site of one gateway."""
    return Site(
        pages=(
            chat.HOME,
            chat.CHAT,
            now.NOW,
            runs.PAGE,
            run.PAGE,
            jobs.PAGE,
            sessions.LIST_PAGE,
            sessions.PAGE,
            usage.PAGE,
            health.PAGE,
            configuration.PAGE,
            people.PAGE,
        ),
        fragments=(
            conversations.LIST,
            agents.PANEL,
            agents.LOG_VIEW,
            chat.STATE,
            *now.FRAGMENTS,
            runs.LIST,
            *run.FRAGMENTS,
            *jobs.FRAGMENTS,
            *sessions.FRAGMENTS,
            usage.ALL,
            health.ALL,
            configuration.VALUES,
            people.LIST,
        ),
        actions=(
            *Sending().actions(),
            conversations.RENAME,
            *agents.ACTIONS,
            *again.ACTIONS,
            *configuration.ACTIONS,
            *decide.ACTIONS,
            signin.SIGN_OUT,
        ),
        sources=(chat.LOG, chat.NEW, stream.EVENTS, palette.PALETTE, files.FILE, configuration.SOURCE),
        sign_in=sign_ins.page,
    )
