"""What a person asks the stand-in for, as far as a script can understand it. Pure functions on text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MAX_TASKS: Final = 20
LABEL_CHARS: Final = 48

_NUMBERS: Final = {
    word: value
    for value, words in enumerate(
        ("a an one single", "two couple both pair", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), 1
    )
    for word in words.split()
}
_AGENTS: Final = r"(?:sub-?\s?agents?|agents?|helpers?|workers?)"
_SPAWN: Final = re.compile(
    rf"\b(?:spawn|start|launch|create|use|send|get|have|let|ask|run|delegate\w*|fire up|kick off)\b"
    rf"(?P<before>[^.;:\n]{{0,40}}?)\b(?P<noun>{_AGENTS})\b(?P<body>.*)",
    re.IGNORECASE | re.DOTALL,
)
_LEAD: Final = re.compile(
    r"^\s*(?:[,:;–—-]\s*)?(?:in parallel\s*)?(?:[,:–—-]\s*)?(?:and\s+)?"
    r"(?:to|that|which|who|for|and have (?:it|them)|should|must)?\b[\s:–—-]*",
    re.IGNORECASE,
)
_ORDINAL: Final = (
    r"(?:one|another(?: one)?|(?:a|the) (?:first|second|third|fourth|fifth|other|last)(?: one)?"
    r"|(?:agent|sub-?agent|number)? ?\d+[.):]|the rest)"
)
_ORDINALS: Final = re.compile(
    rf"(?:^|[,;.]\s*|\s+and\s+|,\s*and\s+|\n\s*){_ORDINAL}\s+(?:to|that|which|for|should|must|will)\s+", re.IGNORECASE
)
_BULLETS: Final = re.compile(r"(?:^|\n)\s*(?:[-*•]|\d+[.)])\s+")
_CONJUNCTION: Final = re.compile(r"\s*,\s*and\s+|\s*,\s*|\s+and\s+", re.IGNORECASE)
_TIMEOUT: Final = re.compile(
    r"[,.;]?\s*(?:and\s+)?(?:set|with|use|give (?:it|them))\s+an?\s+(?:timeout of\s+)?(\d+)[- ]?(second|minute)s?"
    r"(?:\s+timeout)?[^.;\n]*",
    re.IGNORECASE,
)
_LASTS: Final = re.compile(
    r"\b(?:for|take|taking|lasting|about)\s+(\d+)\s*(s|sec|seconds?|m|min|minutes?)\b", re.IGNORECASE
)
_PROGRESS: Final = re.compile(
    r"\b(how (?:is|are|'s) (?:it|they|things|that|the sub-?agents?)|how's it|progress|status|what are they doing"
    r"|still running|are they done|is it done|done yet|any news)\b",
    re.IGNORECASE,
)
_STOP: Final = re.compile(
    rf"\b(stop|cancel|abort|kill)\b.{{0,30}}\b(all|them|it|everything|{_AGENTS})\b", re.IGNORECASE
)
_HELP: Final = re.compile(r"\b(what can you do|help|who are you|what are you|how does this work)\b", re.IGNORECASE)
_HELLO: Final = re.compile(r"^\W*(hi|hello|hey|good (morning|afternoon|evening)|howdy|moin|servus)\b", re.IGNORECASE)
_THANKS: Final = re.compile(r"\b(thanks?|thank you|great|perfect|nice work|well done|cool)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Task:
    """Work for one sub-agent."""

    text: str
    label: str
    timeout_seconds: int | None = None


def spawn_tasks(text: str) -> tuple[Task, ...]:
    """The tasks of a request to spawn sub-agents; empty if it isn't one."""
    found = _SPAWN.search(text)
    if not found:
        return ()
    body, timeout = _without_timeout(found["body"])
    count, plural = _count(found["before"]), found["noun"].lower().endswith("s")
    body = _LEAD.sub("", body, count=1).strip(" .!?\n")
    if not body:
        return ()
    parts = _parts(body, count or (2 if plural else 1), exact=count is not None)
    return tuple(Task(part, label_of(part), timeout) for part in parts[:MAX_TASKS])


def label_of(task: str) -> str:
    """A short name for a task, cut at a word."""
    line = " ".join(task.split())
    if len(line) <= LABEL_CHARS:
        return line
    cut = line[: LABEL_CHARS - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut else cut) + "…"


def asks_progress(text: str) -> bool:
    """“How is it going?”"""
    return bool(_PROGRESS.search(text))


def asks_stop(text: str) -> bool:
    """“Stop them.”"""
    return bool(_STOP.search(text))


def asks_help(text: str) -> bool:
    """“What can you do?”"""
    return bool(_HELP.search(text))


def is_greeting(text: str) -> bool:
    """“Hello!”"""
    return bool(_HELLO.search(text))


def is_thanks(text: str) -> bool:
    """“Thanks.”"""
    return len(text) < 60 and bool(_THANKS.search(text))


def wished_seconds(text: str) -> float | None:
    """How long a task says that it should take, “for 30 seconds”; None if it says nothing. At most 10 minutes."""
    found = _LASTS.search(text)
    if not found:
        return None
    return min(600.0, float(found[1]) * (60 if found[2].lower().startswith("m") else 1))


def _without_timeout(body: str) -> tuple[str, int | None]:
    found = _TIMEOUT.search(body)
    if not found:
        return body, None
    seconds = int(found[1]) * (60 if found[2].lower() == "minute" else 1)
    return body[: found.start()] + body[found.end() :], seconds


def _count(before: str) -> int | None:
    for word in reversed(re.findall(r"[a-z]+|\d+", before.lower())):
        if word.isdigit():
            return max(1, min(int(word), MAX_TASKS))
        if word in _NUMBERS:
            return _NUMBERS[word]
    return None


def _parts(body: str, count: int, *, exact: bool) -> list[str]:
    """The body as one text per sub-agent."""
    for splitter in (_BULLETS, _ORDINALS, re.compile(r"\s*[;\n]\s*")):
        listed = _cleaned(splitter.split(body))
        if len(listed) > 1 or (splitter is _ORDINALS and splitter.search(body) and listed):
            return listed
    if count == 1:
        return [_sentence(body)]
    listed = _cleaned(_CONJUNCTION.split(body))
    if len(listed) == count or (len(listed) > 1 and not exact):
        return _with_verb(listed)
    if len(listed) > count:
        head = _with_verb(listed)
        return [*head[: count - 1], " and ".join(head[count - 1 :])]
    return [f"{_sentence(body)} (look {number} of {count})" for number in range(1, count + 1)]


def _cleaned(parts: list[str]) -> list[str]:
    return [_sentence(part) for part in parts if part.strip(" ,.;\n")]


def _sentence(part: str) -> str:
    text = re.sub(r"^(?:and|then|to)\s+", "", part.strip(" ,.;\n"), flags=re.IGNORECASE)
    return text[:1].upper() + text[1:]


def _with_verb(parts: list[str]) -> list[str]:
    """“Count the tests”, “the docs” → the second gets the verb of the first."""
    verb = parts[0].split(" ", 1)[0]
    return [
        f"{verb} {part[:1].lower()}{part[1:]}"
        if re.match(r"(the|all|every|our|its|my)\b", part, re.IGNORECASE)
        else part
        for part in parts
    ]
