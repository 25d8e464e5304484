"""A Slack workspace for tests: a server on loopback, strict, driven by the real client libraries.

    async with SlackWorkspace() as ws:
        ann = ws.user("ann")
        ws.channel("general", "ann")
        …  # AsyncWebClient(ws.app.bot_token, base_url=ws.api_url), AsyncSocketModeHandler(app, ws.app.app_token)
        ts = await ann.says("general", "count the files", mention=True)
        answer = await ws.wait_message("3 files", thread=ts)
        await ann.presses("general", answer.ts, "Stop")
        ws.next("chat.postMessage", Fault(drop=True, applied=True))  # done, but the answer is lost
        ws.assert_clean()

Whatever a correct client would not have done is kept in `faults`. As a process of its own, `python -m
tests.standins.slack`, it prints its base URL first and is driven through `remote.py` with the same words.
"""

from __future__ import annotations

from tests.standins.slack.errors import NotThere, Timeout
from tests.standins.slack.faults import Fault
from tests.standins.slack.interactions import Ack
from tests.standins.slack.model import Message
from tests.standins.slack.options import Options
from tests.standins.slack.people import Person
from tests.standins.slack.remote import RemoteSlack, Seen, remote_slack, slack_process
from tests.standins.slack.server import SlackWorkspace

__all__ = [
    "Ack",
    "Fault",
    "Message",
    "NotThere",
    "Options",
    "Person",
    "RemoteSlack",
    "Seen",
    "SlackWorkspace",
    "Timeout",
    "remote_slack",
    "slack_process",
]
