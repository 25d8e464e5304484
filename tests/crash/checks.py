"""What must be true of a site when the scene has settled, whatever was killed on the way.

`faults` reads the database, the transcript files, the log that the tools wrote and the requests that the model server
saw, and returns a sentence for everything that is wrong. Rules: spec/subagents.md 15, 19, 22; spec/architecture.md,
the protocol; issue, "How it is shown".
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil

from gateway.agent.toolset import INTERRUPTED
from tests.crash.plots import Plot
from tests.crash.scene import Scene
from tests.crash.script import LOG
from tests.crash.sink import NAME, POSTS
from tests.crash.snapshot import Snapshot, requests
from tests.support.process import Site

Row = dict[str, Any]


@dataclass(frozen=True)
class Left:
    """What the scene has left behind."""

    site: Site
    deaths: Sequence[Snapshot]
    sessions: dict[str, Row]
    """By id."""
    messages: dict[str, list[Row]]
    """By session id; of archived sessions from their files, in the form of a file."""
    inbox: list[Row]
    runs: list[Row]
    outbox: list[Row]
    processes: list[Row]

    @cached_property
    def written(self) -> Counter[str]:
        """How often each word stands in the log of the tools."""
        file = self.site.workspace / LOG
        return Counter(file.read_text("utf-8").split() if file.exists() else ())

    @cached_property
    def asked(self) -> list[tuple[str, int]]:
        """Session key and position of each request of a model, in order."""
        return [(one["session"], one["step"]) for one in map(json.loads, requests(self.site))]


def read(scene: Scene) -> Left:
    """Reads everything. The gateway must have stopped."""
    with scene.site.rows() as rows:
        messages: defaultdict[str, list[Row]] = defaultdict(list)
        for row in _table(rows, "messages", "session_id, seq"):
            messages[row["session_id"]].append(row)
        runs = _table(rows, "runs", "created_at")
        for run in runs:
            if run["archived_at"] is not None:
                messages[run["session_id"]] = [_as_row(line) for line in _lines(Path(run["transcript_path"]))]
        return Left(
            scene.site,
            scene.deaths,
            {row["id"]: row for row in _table(rows, "sessions", "created_at")},
            messages,
            _table(rows, "inbox", "id"),
            runs,
            _table(rows, "outbox", "id"),
            _table(rows, "processes", "id"),
        )


def faults(scene: Scene, plot: Plot) -> list[str]:
    """Everything that is wrong."""
    left = read(scene)
    return [
        *_runs(left, plot),
        *_announcements(left),
        *_inbox(left),
        *_said(left, plot),
        *_transcripts(left),
        *_files(left),
        *_requests(left),
        *_tools(left),
        *_posts(left),
        *_reservations(left),
        *_processes(left),
        *_sessions(left),
        *_logs(left),
    ]


def _table(rows: sqlite3.Connection, name: str, order: str) -> list[Row]:
    return [dict(row) for row in rows.execute(f"select * from {name} order by {order}")]  # noqa: S608 - our own names


def _lines(file: Path) -> list[Row]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []


def _as_row(line: Row) -> Row:
    return {
        "seq": line["seq"],
        "role": line["role"],
        "kind": line["kind"],
        "text": line["text"],
        "calls": json.dumps(line["calls"]) if line["calls"] else None,
        "parent_seq": line["parentSeq"],
        "call_index": line["callIndex"],
        "error": line["error"],
        "inbox_id": None,
    }


def _calls(message: Row) -> list[Row]:
    calls: list[Row] | None = json.loads(message["calls"] or "null")
    return calls or []


def _runs(left: Left, plot: Plot) -> Iterator[str]:
    """Every run ends, as it should; none is there twice."""
    outcomes: defaultdict[str, list[str]] = defaultdict(list)
    for run in left.runs:
        outcomes[run["label"]].append(run["outcome"])
        if run["status"] != "done":
            yield f"run {run['label']} is {run['status']}"
    if outcomes != {label: list(all_of) for label, all_of in plot.outcomes.items()}:
        yield f"the runs ended as {dict(outcomes)}: {[run['error'] for run in left.runs if run['error']]}"


def _announcements(left: Left) -> Iterator[str]:
    """Each run announces once, into the transcript of who asked for it, on the route of the asking message."""
    for run in left.runs:
        rows = [row for row in left.inbox if row["dedupe"] == f"announce:{run['id']}"]
        told = [row["inbox_id"] for row in left.messages[run["requester_id"]] if _announces(row, run)]
        if len(rows) != 1 or told.count(rows[0]["id"]) != 1:
            yield f"run {run['label']} has {len(rows)} inbox rows and is announced by those of {told}"
        elif rows[0]["route"] != run["route"]:
            yield f"run {run['label']} is announced on the route {rows[0]['route']}, not {run['route']}"
        if run["announced_at"] is None:
            yield f"run {run['label']} doesn't know that it was announced"
    told_at_all = sum(row["kind"] == "announce" for rows in left.messages.values() for row in rows)
    if told_at_all != len(left.runs):
        yield f"{len(left.runs)} runs made {told_at_all} announcements"


def _announces(message: Row, run: Row) -> bool:
    return message["kind"] == "announce" and run["session_key"] in message["text"]


def _inbox(left: Left) -> Iterator[str]:
    """No row is lost or consumed twice; what a person said is there once."""
    consumers: defaultdict[int, list[tuple[str, int]]] = defaultdict(list)
    for session_id, rows in left.messages.items():
        for row in rows:
            if row["inbox_id"] is not None:
                consumers[row["inbox_id"]].append((session_id, row["seq"]))
    for row in left.inbox:
        places = consumers.pop(row["id"], [])
        if row["state"] == "pending" and left.sessions[row["session_id"]]["closed"] and not places:
            continue  # its reader was stopped or ran out of time before
        if row["state"] != "consumed" or places != [(row["session_id"], row["consumed_seq"])]:
            yield f"inbox row {row['dedupe']} is {row['state']} and stands at {places}"
    if consumers:
        yield f"messages came from inbox rows that aren't there: {dict(consumers)}"


def _said(left: Left, plot: Plot) -> Iterator[str]:
    """What was said, and repeated until it was acknowledged, is there once."""
    for text, key in plot.said.items():
        found = [row for row in left.inbox if row["kind"] == "user" and row["text"] == text]
        if [left.sessions[row["session_id"]]["key"] for row in found] != [key]:
            yield f"`{text}` was accepted {len(found)} times"
    steers = [row for row in left.inbox if row["kind"] == "steer"]
    if len(steers) != plot.steers:
        yield f"{plot.steers} times a sub-agent was steered, {len(steers)} rows are there"


def _transcripts(left: Left) -> Iterator[str]:
    """Numbered without a gap; each call has one result, and it comes after its call."""
    for session_id, rows in left.messages.items():
        name = left.sessions.get(session_id, {}).get("key", session_id)
        if [row["seq"] for row in rows] != list(range(1, len(rows) + 1)):
            yield f"{name}: the numbers are {[row['seq'] for row in rows]}"
        wanted = Counter((row["seq"], index) for row in rows for index in range(len(_calls(row))))
        stored = Counter((row["parent_seq"], row["call_index"]) for row in rows if row["role"] == "tool")
        if wanted != stored:
            yield f"{name}: calls {sorted(wanted)} have results {sorted(stored)}"
        if any(row["role"] == "tool" and row["seq"] < row["parent_seq"] for row in rows):
            yield f"{name}: a result stands before its call"
        yield from _boundaries(name, rows)


def _boundaries(name: str, rows: Sequence[Row]) -> Iterator[str]:
    """Nothing of the inbox stands between a call and its result (architecture, protocol 2)."""
    open_calls = 0
    for row in rows:
        open_calls += len(_calls(row)) - (row["role"] == "tool")
        if open_calls and row["role"] == "user" and row["kind"] != "notice":
            yield f"{name}: message {row['seq']} was let in while {open_calls} calls were open"


def _files(left: Left) -> Iterator[str]:
    """The transcript file of each ended run says what the rows say."""
    for run in left.runs:
        file = Path(run["transcript_path"] or "nowhere")
        if not file.is_file():
            yield f"run {run['label']}: there is no transcript file {file}"
            continue
        if run["archived_at"] is not None:
            twin = file.with_name(file.name.partition(".deleted.")[0])
            if ".deleted." not in file.name or twin.exists():
                yield f"run {run['label']} is archived, but its file is {file.name}, beside {twin.exists()}"
            continue
        lines = [(line["seq"], line["role"], line["text"]) for line in _lines(file)]
        rows = [(row["seq"], row["role"], row["text"]) for row in left.messages[run["session_id"]]]
        if lines != rows:
            yield f"run {run['label']}: its file has {len(lines)} lines that aren't its {len(rows)} rows"
    for run in left.runs:
        if (run["cleanup"] == "delete") != (run["archived_at"] is not None):
            yield f"run {run['label']} with cleanup {run['cleanup']} was archived at {run['archived_at']}"


def _requests(left: Left) -> Iterator[str]:
    """No stored answer is asked for again, and none twice in one life."""
    summarised = {row["key"] for row in left.sessions.values() if row["summary_seq"] is not None}
    times = Counter(one for one in left.asked if one[0] not in summarised)  # their positions begin anew
    for (key, step), count in times.items():
        allowed = 1 + sum(death.answers.get(key, 0) < step and key not in death.archived for death in left.deaths)
        if count > allowed:
            yield f"answer {step} of {key} was asked for {count} times, with {allowed} that may be"
    for death in left.deaths:
        for key, step in left.asked[death.requests :]:
            if key not in summarised and (step <= death.answers.get(key, 0) or key in death.archived):
                yield f"answer {step} of {key} was stored when the gateway died, and asked for again"


def _tools(left: Left) -> Iterator[str]:
    """What a tool has done is done once; what a death cut off is told as such, and not done again."""
    for word, count in left.written.items():
        if count > 1:
            yield f"`{word}` was done {count} times"
    for rows in left.messages.values():
        made = {(row["seq"], index): call for row in rows for index, call in enumerate(_calls(row))}
        for row in rows:
            if row["role"] == "tool":
                yield from _effect(left, made[row["parent_seq"], row["call_index"]], row)


def _effect(left: Left, made: Row, result: Row) -> Iterator[str]:
    interrupted = result["text"] == INTERRUPTED
    if interrupted and not left.deaths:
        yield f"a call of {made['name']} was interrupted, and nobody died"
    if interrupted and made["name"] != "exec":
        yield f"a call of {made['name']} was interrupted, though it may run again"
    if made["name"] == "exec" and not result["error"]:
        word = json.loads(made["arguments"])["command"].split()[1]
        if left.written[word] != 1:
            yield f"`{word}` is said to be done, and was done {left.written[word]} times"


def _posts(left: Left) -> Iterator[str]:
    """Each final text is one post; what a channel got twice was being sent at a death, and is marked."""
    for session_id, session in left.sessions.items():
        if session["kind"] != "main":
            continue
        final = {row["seq"]: row["text"] for row in left.messages[session_id] if _is_final(row)}
        posts = [row for row in left.outbox if row["session_id"] == session_id and row["seq"] is not None]
        if sorted((row["seq"], row["text"]) for row in posts) != sorted(final.items()):
            yield f"{session['key']}: final texts {final} were posted as {[(row['seq'], row['text']) for row in posts]}"
    for row in left.outbox:
        if row["state"] != "delivered":
            yield f"post {row['id']} is {row['state']}: {row['error']}"
    arrived: defaultdict[int, list[bool]] = defaultdict(list)
    for line in _lines(left.site.folder / POSTS):
        arrived[line["id"]].append(line["recovered"])
    for row in left.outbox:
        marks = arrived.pop(row["id"], [])
        if json.loads(row["route"])["channel"] != NAME:
            continue
        most = 1 + sum(row["id"] in death.sending for death in left.deaths)
        if not 1 <= len(marks) <= most or any(not mark for mark in marks[1:]):
            yield f"post {row['id']} arrived {len(marks)} times, at most {most}, marked {marks}"
    if arrived:
        yield f"posts arrived that aren't in the outbox: {dict(arrived)}"


def _is_final(row: Row) -> bool:
    return row["role"] == "assistant" and not _calls(row) and row["text"] != "NO_REPLY"


def _reservations(left: Left) -> Iterator[str]:
    """What is reserved belongs to calls that a death cut off, and nothing else."""
    kept = left.deaths[-1].reserved if left.deaths else {}
    for run in left.runs:
        if run["reserved_tokens"] != kept.get(run["id"], 0):
            yield f"run {run['label']} has {run['reserved_tokens']} tokens reserved, not {kept.get(run['id'], 0)}"


def _processes(left: Left) -> Iterator[str]:
    """Nothing that a tool has started survives."""
    if left.processes:
        yield f"process groups are still recorded: {left.processes}"
    for process in psutil.process_iter():
        try:
            folder = process.cwd()
        except psutil.Error:
            continue
        if folder.startswith(str(left.site.state)):
            yield f"process {process.pid} lives on in {folder}"


def _sessions(left: Left) -> Iterator[str]:
    """Nobody is at work, and the deaths of the process are nobody's fault."""
    for session in left.sessions.values():
        if session["claimed_by"] or session["turn_seq"] is not None or session["needs_user"]:
            yield f"{session['key']} is claimed by {session['claimed_by']}, turn {session['turn_seq']}"


def _logs(left: Left) -> Iterator[str]:
    """No process has complained."""
    if "Traceback" in left.site.said():
        yield f"a gateway logged an error: {left.site.said()}"
