"""What the models say in the issue's whole story, on any platform.

`spawn` makes three sub-agents: one that counts, one that hangs, and one that digs in a thread of its own. Each waits
for the gate of its name; whoever digs repeats what it has heard last, and every report is answered with its label.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile

from tests.support.model_script import Call, Seen, calls, say, text_of
from tests.support.pilot import REPORT, Pilot

LABELS = ("count", "hang", "dig")
AT_WORK = "Three are at work."
TOLD = "reported:"


def whole_story(p: Pilot) -> None:
    """Adds the rules."""
    spawned = [Call("sessions_spawn", {"task": f"{label} it", "label": label}) for label in LABELS[:2]]
    spawned.append(Call("sessions_spawn", {"task": "dig it", "label": "dig", "thread": True}))
    p.on(reply=calls(*spawned), role="main", user="spawn$", turn_step=1)
    p.on(reply=say(AT_WORK), role="main", user="spawn$", turn_step=2)
    p.on(lambda seen: say(f"{TOLD} {' '.join(_reported(_unanswered(seen)))}"), role="main", user=REPORT)
    for label in LABELS[:2]:
        p.on(reply=say(f"{label} is over", hold=label), role="child", task=f"^{label} it")
    p.on(lambda seen: say(f"dug for {seen.last_user}", hold="dig"), role="child", task="^dig it")


def reports(shown: Iterable[str]) -> list[str]:
    """The labels whose reports were answered, sorted; one that was answered twice is there twice."""
    return sorted(word for text in shown if TOLD in text for word in text.partition(TOLD)[2].split())


def _unanswered(seen: Seen) -> str:
    """What has come since the last answer: several reports may be let in at once."""
    new = takewhile(lambda message: message["role"] != "assistant", reversed(seen.messages))
    return "\n".join(text_of(message) for message in new)


def _reported(text: str) -> list[str]:
    return [label for label in LABELS if f"Sub-agent “{label}”" in text]
