"""What a chat shows of the events that reach it."""

from __future__ import annotations

from typing import Any

from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from channels.terminal import toolbar
from channels.terminal.completion import ChatCompleter
from channels.terminal.conversation import Conversation
from gateway.client.events import Event
from gateway.client.records import CommandInfo, Run

KEY = "agent:main:main"


class Paper:
    """A screen that keeps what is printed."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def user(self, text: str, *, elsewhere: bool) -> None:
        self.lines.append(f"{'other' if elsewhere else 'user'}: {text}")

    def answer(self, markdown: str, *, begins: bool) -> None:
        self.lines.append(f"{'answer' if begins else '…'}: {markdown.strip()}")

    def notice(self, text: str, *, loud: bool = False) -> None:
        self.lines.append(f"{'!' if loud else '·'} {text}")

    def run_created(self, run: Run) -> None:
        self.lines.append(f"+ {run.label}")

    def changed(self) -> None:
        """Nothing is drawn."""


class Talk:
    """A conversation and its screen."""

    def __init__(self) -> None:
        self.paper = Paper()
        self.conversation = Conversation(KEY, self.paper)

    def feed(self, type: str, **data: Any) -> None:
        self.conversation.handle(Event(type, {"sessionKey": KEY, **data}))

    def message(self, role: str, text: str, **more: Any) -> None:
        self.feed("message", role=role, text=text, **{"messageId": "1", "seq": None, "inboxId": None, **more})

    def run(self, change: str, run_id: str = "r1", **more: Any) -> None:
        run = {
            "runId": run_id,
            "label": "count files",
            "status": "running",
            "startedAt": "2026-01-01T00:00:00Z",
            **more,
        }
        self.feed("run", sessionKey=f"agent:main:subagent:{run_id}", change=change, run=run)

    def toolbar(self, room: int = 5) -> str:
        pieces = toolbar.lines(self.conversation, "where", width=60, room=room)
        return "".join(piece[1] for piece in pieces)


def test_own_messages_are_not_shown_again_and_others_are() -> None:
    talk = Talk()
    talk.conversation.is_own(7)
    talk.message("user", "mine", inboxId=7)
    talk.message("user", "from the other window", inboxId=8)
    assert talk.paper.lines == ["other: from the other window"]
    assert talk.conversation.busy
    talk.feed("idle")
    assert not talk.conversation.busy


def test_a_streamed_answer_is_printed_block_by_block_and_once() -> None:
    talk = Talk()
    for piece in ("First.\n\nSec", "ond.\n\n", "Third"):
        talk.feed("delta", messageId="1", text=piece)
    talk.message("assistant", "First.\n\nSecond.\n\nThird.")
    talk.feed("idle")
    assert talk.paper.lines == ["answer: First.", "…: Second.", "…: Third."]


def test_an_answer_that_was_missed_while_away_comes_whole() -> None:
    talk = Talk()
    talk.feed("snapshot", messageId="1", text="First.\n\nSec")
    talk.message("assistant", "Another text.", messageId="2")
    assert talk.paper.lines == ["answer: First.", "answer: Another text."]


def test_what_was_written_when_a_turn_was_stopped_stays() -> None:
    talk = Talk()
    talk.feed("delta", messageId="1", text="Half a sent")
    talk.feed("idle")
    assert talk.paper.lines == ["answer: Half a sent"]
    assert talk.conversation.answer is None


def test_texts_of_other_sessions_are_not_shown() -> None:
    talk = Talk()
    talk.feed("delta", sessionKey="agent:main:subagent:x", messageId="9", text="inner\n\nthoughts")
    talk.feed("message", sessionKey="agent:main:subagent:x", role="assistant", text="to my parent", messageId="9")
    assert talk.paper.lines == []


def test_a_sub_agent_has_a_live_line_until_it_ends() -> None:
    talk = Talk()
    talk.run("created")
    talk.feed(
        "progress",
        sessionKey="agent:main:subagent:r1",
        runId="r1",
        text="exec git status",
        lastTool="exec git status",
        tokens={"input": 1000, "output": 234, "total": 1234},
    )
    line = talk.toolbar().splitlines()[0]
    assert "count files" in line
    assert "exec git status" in line
    assert "1.2k tok" in line
    talk.run("done", status="done", outcome="ok", runtimeSeconds=72.5)
    assert talk.toolbar() == "where"
    assert talk.paper.lines == ["+ count files", "· ✅ count files · completed · 1m12s"]


def test_many_sub_agents_leave_room_for_the_rest() -> None:
    talk = Talk()
    for number in range(9):
        talk.run("created", f"r{number}")
    assert len(talk.toolbar(room=4).splitlines()) == 5
    assert "… and 6 more" in talk.toolbar(room=4)


def test_a_question_says_how_to_answer_it_and_is_shown_once() -> None:
    talk = Talk()
    question = {"id": 3, "tool": "exec", "summary": "make clean", "pattern": "make *"}
    talk.feed("approval", state="pending", **question)
    talk.feed("approval", state="pending", **question)
    talk.feed("approval", state="allowed", **question)
    shown, decided = talk.paper.lines
    assert "exec wants to run: make clean" in shown
    assert "/approve 3  ·  /approve 3 always (allows `make *`)  ·  /deny 3" in shown
    assert decided == "· Question 3: allowed"


def test_what_others_wrote_cannot_steer_the_terminal() -> None:
    talk = Talk()
    talk.message("assistant", "a\x1b[2Jb\x07c\x9bd\r\ne‮f")
    talk.run("created", label="\x1b]0;title\x07")
    assert talk.paper.lines[0] == "answer: a[2Jbcd\nef"
    assert "\x1b" not in talk.toolbar()


def completions(text: str) -> list[str]:
    commands = [CommandInfo(name="subagents", words=["list", "info", "stop"]), CommandInfo(name="model")]
    runs = [Run(run_id="a1b2c3d4e5", label="two words", status="running"), Run(run_id="ffff0000aa", label="one")]
    completer = ChatCompleter(commands, lambda: runs, lambda: [3], ["openai/gpt-5.2", "demo/offline"])
    return [found.text for found in completer.get_completions(Document(text), CompleteEvent())]


def test_commands_words_and_targets_are_completed() -> None:
    assert completions("/su") == ["/subagents"]
    assert completions("/q") == ["/quit"]
    assert completions("/subagents in") == ["info"]
    assert completions("/subagents info ") == ["last", "a1b2c3d4", "one", "ffff0000"]
    assert completions("/subagents stop a") == ["all", "a1b2c3d4"]
    assert completions("/model o") == ["openai/gpt-5.2"]
    assert completions("/approve ") == ["3"]
    assert completions("not /su") == []
