"""What the model says in the crash tests: a function of the conversation alone, so that a repeated request gets the
same answer, whichever process asks.

Rules for the scripted model server in a process of its own; it outlives every gateway. The model's id is the name of
the scene. Each request of a scene is noted in `$SCENES/<scene>.requests`: session key and position, a line each.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from gateway.agent.compaction import INSTRUCTION
from tests.support.model_script import Call, Reply, Seen, calls, fail, say
from tests.support.model_server import ScriptedModelServer

LOG = "runs.log"
"""File in the workspace to which every effect writes its own word."""
NEVER = "never"
_SESSION = re.compile(r"session: (agent:\S+)")
_ORDER = re.compile(r"^DO ([\w-]+)", re.MULTILINE)
_REPORT = re.compile(r"^Sub-agent “([\w-]+)”", re.MULTILINE)
_TASK = re.compile(r"^TASK ([\w-]+)", re.MULTILINE)
_STEERED = "GO ON"
_LOOK_SECONDS = 0.2


def logged(word: str, then: str = "") -> Call:
    """A command that leaves its word in the log; a second run would leave a second one."""
    return Call("exec", {"command": f"echo {word} >> {LOG}{then}"})


def spawn(label: str, **more: Any) -> Call:
    """Hands the task of this name to a sub-agent."""
    return Call("sessions_spawn", {"task": f"TASK {label}", "label": label, **more})


ORDERS: Mapping[str, tuple[Call, ...]] = {
    "survey": (spawn("one", budgetTokens=1_000_000), spawn("two"), logged("survey")),
    "watch": (spawn("three", runTimeoutSeconds=1), spawn("four"), logged("watch")),
    "check": (Call("ls", {"path": "."}),),
    "note": (Call("write", {"path": "note.md", "content": "noted"}),),
    "look": (Call("ls", {"path": "."}),),
    "ask": (logged("ask"),),
    "family": (spawn("broken", budgetTokens=1_000_000), spawn("frail")),
    "doom": (spawn("poison"), spawn("two-b")),
    "search": (spawn("two-b"), spawn("one")),
    "hang": (spawn("three"), spawn("one")),
}
"""What a main session does when a person says `DO <name>`."""


class Script:
    """Answers for every scene."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def answer(self, seen: Seen) -> Reply:
        """One answer; notes the request first."""
        if INSTRUCTION in seen.last_user:
            return say("a summary")
        found = _SESSION.search(seen.system)
        key = found[1] if found else "?"
        with (self._folder / f"{seen.model}.requests").open("a") as file:
            file.write(json.dumps({"session": key, "step": seen.step}) + "\n")
        if ":subagent:" in key:
            return self._child(seen)
        return self._main(seen)

    def _main(self, seen: Seen) -> Reply:
        ordered = [name for text in seen.users for name in _ORDER.findall(text)]
        if ordered[-1:] == ["poison"]:
            _kill_gateway(seen)
        todo = [name for name in dict.fromkeys(ordered) if name in ORDERS and not _has_done(seen, name)]
        if todo:
            return calls(*(each for name in todo for each in ORDERS[name]), text=f"begins {' '.join(todo)}")
        new = sorted(_new(seen))
        if new == ["four"]:
            return say("NO_REPLY")
        return say(f"heard {' '.join(new) or 'nothing'}", hold=NEVER if "dawdle" in new else None)

    def _child(self, seen: Seen) -> Reply:
        name = _TASK.findall(seen.first_user)[0]
        if name == "two":
            return self._nesting(seen)
        made = _STEPS[name]
        if seen.step <= len(made):
            return made[seen.step - 1]
        if name == "poison":
            _kill_gateway(seen)
        if name == "broken":
            return fail(400, "this provider refuses everything")
        if name == "frail" and _STEERED not in "\n".join(seen.users):
            return _looks(seen)
        if name in ("three", "four", "poison"):
            return say("too late", hold=NEVER)
        return say(f"{name} done")

    def _nesting(self, seen: Seen) -> Reply:
        if seen.step == 1:
            return calls(spawn("two-a"), spawn("two-b", cleanup="delete"), logged("two-1"))
        said = "\n".join(seen.users)
        heard = set(_REPORT.findall(said))
        if heard < {"two-a", "two-b"}:
            return say(f"two waits, heard {' '.join(sorted(heard))}")
        if _STEERED not in said:
            return _looks(seen)
        return say("two done")


def _looks(seen: Seen) -> Reply:
    """Stays at work until the person has spoken; each look is another one, or it would be taken for a loop."""
    return Reply(calls=(Call("glob", {"pattern": f"{seen.step}*"}),), delay=_LOOK_SECONDS)


_STEPS: Mapping[str, tuple[Reply, ...]] = {
    "one": (
        calls(Call("ls", {"path": "."}), Call("write", {"path": "one.md", "content": "one"}), Call("nonsense", {})),
        calls(logged("one-2"), logged("one-3")),
    ),
    "two-a": (calls(logged("two-a-1")),),
    "two-b": (calls(Call("grep", {"pattern": "one", "path": "."}), Call("glob", {"pattern": "*.md"})),),
    "three": (),
    "four": (calls(logged("four-1", "; sleep 300")),),
    "poison": (),
    "broken": (),
    "frail": (),
}
"""What a sub-agent does first, one reply a step."""


def _has_done(seen: Seen, name: str) -> bool:
    wanted = [each.arguments for each in ORDERS[name]]
    made = [
        json.loads(one["function"]["arguments"])
        for message in seen.messages
        if message["role"] == "assistant"
        for one in message.get("tool_calls") or ()
    ]
    return wanted[-1] in made


def _new(seen: Seen) -> set[str]:
    """What has been said since the last answer that had no calls."""
    new: set[str] = set()
    for message in seen.messages:
        if message["role"] == "assistant" and not message.get("tool_calls"):
            new.clear()
        elif message["role"] == "user":
            text = str(message["content"])
            new.update(_ORDER.findall(text), _REPORT.findall(text))
    return new


def _kill_gateway(seen: Seen) -> None:
    """An answer that is the death of whoever asks for it."""
    place = re.search(r"working folder is (\S+)/workspace", seen.system)
    assert place is not None
    state = Path(place[1])
    pid = int(json.loads((state / "gateway.lock").read_text("utf-8"))["pid"])
    # A request may be read when its sender is dead already, and its number somebody else's.
    if Path(psutil.Process(pid).cwd()) == state.parent:
        os.kill(pid, signal.SIGKILL)


def rules(server: ScriptedModelServer) -> None:
    """The whole script, as one rule."""
    server.on(Script(Path(os.environ["SCENES"])).answer)
