"""The stand-in as a sub-agent: looks around, reads, searches, and reports what it saw, in a handful of real calls.

Each stage is chosen from the task's words and from the results that are there already. Pure functions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from gateway.agent.demo.announced import announcement_in
from gateway.agent.demo.findings import Findings, Match, Reading
from gateway.agent.demo.step import Call, Done, Scene, Step, done_in

_KINDS: Final = (
    (r"\btests?\b", "test files", "**/test*.*"),
    (r"\bpython\b|\.py\b", "Python files", "**/*.py"),
    (r"\bmarkdown\b|\bdoc(s|umentation)?\b|\breadmes?\b|\.md\b|\bheadings?\b|\bnotes?\b", "Markdown files", "**/*.md"),
    (r"\btypescript\b|\.ts\b", "TypeScript files", "**/*.ts"),
    (r"\bjavascript\b|\.js\b", "JavaScript files", "**/*.js"),
    (r"\bjson5?\b", "JSON files", "**/*.json*"),
    (r"\bya?ml\b", "YAML files", "**/*.y*ml"),
    (r"\btoml\b", "TOML files", "**/*.toml"),
    (r"\bhtml\b", "HTML files", "**/*.html"),
    (r"\bcss\b", "CSS files", "**/*.css"),
    (r"\brust\b", "Rust files", "**/*.rs"),
    (r"\bgo(lang)? files\b", "Go files", "**/*.go"),
    (r"\blogs?\b", "log files", "**/*.log"),
)
_PATH: Final = re.compile(r"(?<![\w*])([\w-][\w./-]*\.[A-Za-z][A-Za-z0-9]{0,5})\b")
_SEARCH: Final = re.compile(
    r"\b(?:grep|search|look|looking|find|mentions?|uses?|containing)\b(?: \w+){0,4}? ?(?:for|of|with|containing)?"
    r"\s*[\"'`“‘]([^\"'`”’]{2,60})[\"'`”’]"
    r"|\b(?:grep|search|look) for (?:the word |all |any |every )?([A-Za-z_][\w.-]+)",
    re.IGNORECASE,
)
_MARKS: Final = re.compile(r"\b(TODO|FIXME|XXX|HACK)s?\b")
_MOST_READ: Final = 3


@dataclass(frozen=True, slots=True)
class _Goal:
    """What a task asks for."""

    task: str
    kind: str
    glob: str
    path: str | None
    pattern: str
    about: str
    """What the pattern finds, in words."""


def step(scene: Scene) -> Step:
    """The next step of a sub-agent's work."""
    told = (i for i, m in enumerate(scene.messages) if m.role == "user" and not announcement_in(m.text))
    start = max(told, default=0)
    goal = understood(scene.messages[start].text if scene.messages else "")
    messages = scene.messages[start:]
    stage = sum(1 for m in messages if m.role == "assistant" and m.calls)
    findings = Findings(done_in(messages))
    while stage < len(_STAGES):
        planned = _STAGES[stage](goal, findings)
        calls = tuple(call for call in planned.calls if call.tool in scene.tools and not _made(call, findings.done))
        if calls:
            return Step(planned.text, calls)
        stage += 1
    return Step(report(goal, findings))


def understood(task: str) -> _Goal:
    """What a task asks for, as far as its words tell."""
    words = _PATH.sub(" ", task)  # `README.md` names one file, not a kind of files
    kind, glob = next(
        ((kind, glob) for pattern, kind, glob in _KINDS if re.search(pattern, words, re.IGNORECASE)),
        ("files", "**/*"),
    )
    path = next((m[1] for m in _PATH.finditer(task) if not m[1].startswith(("http", "www."))), None)
    pattern, about = _pattern(task, glob)
    return _Goal(task, kind, glob, path, pattern, about)


def _pattern(task: str, glob: str) -> tuple[str, str]:
    if found := _SEARCH.search(task):
        word = found[1] or found[2]
        return re.escape(word), f"“{word}”"
    if _MARKS.search(task):
        return r"\b(TODO|FIXME|XXX|HACK)\b", "open TODO marks"
    if glob.endswith(".py") or "test" in glob:
        return r"^\s*(async def|def|class) ", "definitions"
    if glob.endswith(".md"):
        return r"^#{1,3} ", "headings"
    return r"\b(TODO|FIXME)\b", "open TODO marks"


def _made(call: Call, done: Sequence[Done]) -> bool:
    return any(one.tool == call.tool and one.arguments == call.arguments for one in done)


# --- the stages --------------------------------------------------------------------------------------------------


def _look_around(goal: _Goal, _: Findings) -> Step:
    calls = (Call("ls", {"path": "."}), Call("glob", {"pattern": goal.glob}))
    return Step(f"First a look around, and a list of the {goal.kind}.", calls)


def _read_first(goal: _Goal, findings: Findings) -> Step:
    paths = [goal.path] if goal.path and goal.path not in _paths(findings.readings) else []
    paths += _interesting(findings)
    chosen = tuple(dict.fromkeys(paths))[:2]
    return Step("I read what looks most telling.", tuple(Call("read", {"path": path}) for path in chosen))


def _search(goal: _Goal, findings: Findings) -> Step:
    where = {"glob": goal.glob} if findings.files and goal.glob != "**/*" else {}
    call = Call("grep", {"pattern": goal.pattern, **where})
    return Step(f"Now a search for {goal.about}.", (call,))


def _read_richest(goal: _Goal, findings: Findings) -> Step:
    seen = _paths(findings.readings)
    ranked = [path for path, _ in Counter(m.path for m in findings.matches).most_common()]
    others = [*ranked, *sorted(findings.files)]
    path = next((path for path in others if path not in seen), None)
    room = len(seen) < _MOST_READ
    return Step("One more file, the one with the most in it.", (Call("read", {"path": path}),) if path and room else ())


_STAGES: Final[tuple[Callable[[_Goal, Findings], Step], ...]] = (_look_around, _read_first, _search, _read_richest)


def _interesting(findings: Findings) -> list[str]:
    known = [*findings.files, *findings.top_files]
    named = [path for path in known if re.match(r"(readme|agents|index|main|__init__)\b", _base(path), re.IGNORECASE)]
    return [*sorted(named, key=lambda path: (path.count("/"), path)), *sorted(known)]


def _base(path: str) -> str:
    return PurePosixPath(path).name


def _paths(readings: Sequence[Reading]) -> frozenset[str]:
    return frozenset(reading.path for reading in readings)


# --- the report --------------------------------------------------------------------------------------------------


def report(goal: _Goal, findings: Findings) -> str:
    """The last message: what was found, with its numbers."""
    if not (findings.files or findings.top_files or findings.folders or findings.readings):
        return f"The working folder holds no {goal.kind} that I can see, so that there is nothing to report."
    lines = [_headline(goal, findings), *_folder_lines(findings), *_reading_lines(findings.readings)]
    lines += _match_lines(goal, findings.matches)
    return "\n".join(lines)


def _headline(goal: _Goal, findings: Findings) -> str:
    count, folders = len(findings.files), len(findings.by_folder)
    if not count:
        top = f"{len(findings.top_files)} files and {len(findings.folders)} folders at the top"
        return f"There are no {goal.kind} here; I see {top}."
    shown = "1 " + goal.kind.removesuffix("s") if count == 1 else f"{count} {goal.kind}"
    return f"I found **{shown}** in {folders} folder{'s' if folders > 1 else ''}."


def _folder_lines(findings: Findings) -> list[str]:
    most = findings.by_folder.most_common(3)
    if len(findings.by_folder) < 2:
        return []
    return ["- Most are in " + ", ".join(f"`{folder}` ({count})" for folder, count in most) + "."]


def _reading_lines(readings: Sequence[Reading]) -> list[str]:
    lines: list[str] = []
    for reading in readings:
        size = f"{reading.lines} lines" if reading.complete else f"more than {reading.lines} lines"
        begins = f", begins with “{reading.heading}”" if reading.heading else ""
        lines.append(f"- `{reading.path}` has {size}{begins}.")
    return lines


def _match_lines(goal: _Goal, matches: Sequence[Match]) -> list[str]:
    if not matches:
        return [f"- The search for {goal.about} found nothing."]
    per_file = Counter(match.path for match in matches)
    top, most = per_file.most_common(1)[0]
    example = next(match for match in matches if match.path == top)
    text = example.text if len(example.text) <= 80 else example.text[:79] + "…"
    return [
        f"- The search for {goal.about} found {len(matches)} lines in {len(per_file)} files, most in `{top}` ({most}).",
        f"- For example `{example.path}:{example.line}`: “{text}”",
    ]
