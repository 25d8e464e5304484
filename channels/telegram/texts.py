"""Every text about Telegram that a person reads, the set-up among them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from gateway.commands.base import Command

log = logging.getLogger("channels.telegram")

BELOW = "The answer is below."
ADDED = "the bot was added to the Telegram group “%s”: its id for channels.telegram.groups is %s"
PATH = "/channels/telegram/"
"""Of webhooks, before the account's name."""


def command_list(commands: Iterable[Command]) -> str:
    """The commands as BotFather's /setcommands takes them."""
    return "\n".join(f"{command.name} - {command.help}" for command in commands)


def setup(port: int, commands: str) -> Mapping[str, str]:
    """The steps, by the names of the parts.

    Args:
        port: the gateway's.
        commands: as `command_list` writes them.
    """
    return {
        "steps": _STEPS,
        "config": _CONFIG,
        "groups": _GROUPS,
        "webhook": _WEBHOOK.format(port=port),
        "commands": f"{_COMMANDS}\n\n{commands}",
    }


_STEPS = """\
Connecting Telegram, by long polling (nothing has to reach your machine from outside):

1. Write to https://t.me/BotFather:

   /newbot

   and answer its two questions: a name that people see, and a user name that ends in `bot`.
   It answers with the token, which looks like 123456789:AAE….
2. Put the token into the environment (export TELEGRAM_BOT_TOKEN=…) and the block below into config.json5
   (in ~/.laneway, or where LANEWAY_HOME says); if you have that file already, its key goes into it.
3. laneway channels test telegram  says whether the token works and what the bot may read.
   laneway start                   then write something to your bot: it answers with a pairing code and tells
                                   you what to type.
4. `laneway pairing list` now shows your id. Put it under `owners` as telegram:<id>, and laneway reload."""

_CONFIG = """\
// config.json5
{
  channels: {
    telegram: {
      botToken: "${TELEGRAM_BOT_TOKEN}",
      // The groups in which it answers, by their ids.
      // groups: { "-1001234567890": {} },
    },
  },
  // You, once you know your id: the assistant trusts you then.
  // owners: ["telegram:123456789"],
}"""

_GROUPS = """\
Groups: add the bot while the gateway runs; its log names the group's id, which goes under `groups`. (A link to one of
the group's messages holds it too: t.me/c/1234567890/5 is the group -1001234567890.) It answers to mentions, to replies
to it and to its commands; that is all it gets to read.

For it to read everything in a group (requireMention: false, and threads of sub-agents) write to BotFather

   /setprivacy

choose the bot, then Disable, and add the bot to the group anew; or make it an administrator of that group.

Topics: turn on Topics in the group's settings and make the bot an administrator that may manage topics and delete
messages. It then stays in the topic that it was asked in, and can open a topic for a sub-agent (thread: true). For
topics in private chats turn on Threaded Mode in BotFather's app, under the bot's settings."""

_COMMANDS = """\
The commands that the apps complete are set whenever the gateway starts. To set them by hand write /setcommands to
BotFather, choose the bot, and paste:"""

_WEBHOOK = """\
Instead of polling Telegram can call the gateway: mode: "webhook", webhookUrl (https://<your address>, one of the ports
443, 80, 88, 8443) and webhookSecret (1 to 256 of A-Z a-z 0-9 _ -). Your proxy passes /channels/telegram/<account>
on to port {port}; the account is `default` unless you named others. The gateway tells Telegram at every start."""
