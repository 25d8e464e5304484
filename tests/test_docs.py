"""README and docs say what is so: links lead somewhere, commands and options exist, examples load and run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_command

from gateway.cli import app, start, worker
from gateway.config import Paths
from gateway.config.load import parse_text
from gateway.plugins import Plugin
from tests.support.pilot import pilot

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_FENCE = re.compile(r"^ *```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_COMMAND = re.compile(r"(?:^|(?<=[\s(/]))laneway(?= +[a-z-])(?P<rest>[^\n|;&#]*)", re.MULTILINE)
_WORD = re.compile(r"[a-z][a-z-]*")
_OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")


@dataclass(frozen=True, slots=True)
class Snippet:
    """A fenced piece of a page."""

    page: Path
    language: str
    text: str


def snippets(*languages: str) -> list[Snippet]:
    """The fenced pieces in these languages, of all pages."""
    found = (Snippet(page, each["language"], each["text"]) for page in PAGES for each in _FENCE.finditer(_read(page)))
    return [each for each in found if each.language in languages]


def _read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def _id(value: object) -> str:
    return f"{value.page.name}:{value.language}" if isinstance(value, Snippet) else cast("Path", value).name


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    missing: list[str] = []
    for link in _LINK.finditer(_FENCE.sub("", _read(page))):
        target, _, anchor = link["target"].partition("#")
        if "://" in target:
            continue
        file = page.parent / target if target else page
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            missing.append(link["target"])
    assert not missing


def test_every_page_is_reached_from_the_readme() -> None:
    linked = {link["target"].partition("#")[0] for link in _LINK.finditer(_read(PAGES[0]))}
    assert {f"docs/{page.name}" for page in PAGES[1:]} <= linked


def _anchors(page: Path) -> set[str]:
    """Headings as a forge makes anchors of them."""
    headings = _HEADING.findall(_FENCE.sub("", _read(page)))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_every_command_exists_with_its_options(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    served: dict[str, set[str]] = {}
    for name, main in (("start", start.main), ("worker", worker.main)):
        with pytest.raises(SystemExit):
            main([name, "--help"])
        served[f"laneway {name}"] = set(_OPTION.findall(capsys.readouterr().out))
    faults = [fault for rest in _commands(_read(page)) for fault in _faults(rest, served)]
    assert not faults


def _commands(text: str) -> Iterator[str]:
    """What follows each `laneway` in code."""
    shell = "\n".join(each["text"] for each in _FENCE.finditer(text) if each["language"] in ("sh", "ini"))
    inline = "\n".join(_INLINE.findall(_FENCE.sub("", text)))
    for command in _COMMAND.finditer(f"{shell}\n{inline}"):
        yield re.sub(r"\"[^\"]*\"|'[^']*'", " TEXT ", command["rest"]).partition(")")[0]


def _faults(rest: str, served: Mapping[str, set[str]]) -> Iterator[str]:
    words = rest.split()
    if words[:1] == ["--config"]:
        del words[:2]
    path, command = "laneway", get_command(_application())
    while isinstance(command, TyperGroup) and words and _WORD.fullmatch(words[0]):
        path = f"{path} {words[0]}"
        found = command.commands.get(words.pop(0))
        if found is None:
            yield f"there is no `{path}`"
            return
        command = found
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}
    known |= served.get(path, set())
    yield from (f"`{path}` takes no {option}" for option in _OPTION.findall(" ".join(words)) if option not in known)


@cache
def _application() -> typer.Typer:
    return app.build(None)


def test_the_check_of_commands_finds_faults() -> None:
    def faults(text: str) -> list[str]:
        return [fault for rest in _commands(text) for fault in _faults(rest, {})]

    assert faults("`laneway sessions lst`") == ["there is no `laneway sessions lst`"]
    assert faults("```sh\nlaneway chat --wat -m x\n```") == ["`laneway chat` takes no --wat"]
    assert faults("`laneway --config FILE config check` and `laneway status`") == []


@pytest.mark.parametrize("snippet", snippets("json5"), ids=_id)
def test_configurations_load_without_a_warning(snippet: Snippet, tmp_path: Path) -> None:
    variables = dict.fromkeys(re.findall(r"\$\{(\w+)\}", snippet.text), "a-value-long-enough")
    environ = {"HOME": str(tmp_path), **variables}
    config = parse_text(snippet.text, tmp_path / "config.json5", paths=Paths(tmp_path), environ=environ)
    assert config.warnings == ()


def test_json_is_json() -> None:
    for snippet in snippets("json"):
        json.loads(snippet.text)


def plugin_of(page: str) -> Plugin:
    """The plugin that a page shows."""
    [source] = [snippet for snippet in snippets("python") if snippet.page.name == page]
    module: dict[str, object] = {}
    # In a module of its own without this one's future imports: pydantic reads the annotations.
    exec(compile(source.text, str(source.page), "exec", dont_inherit=True), module)  # noqa: S102 - our own page
    return cast("Plugin", module["plugin"])


async def test_the_plugin_of_the_readme_works(tmp_path: Path) -> None:
    async with pilot(tmp_path, plugins={"dice": plugin_of("README.md")}) as p:
        assert (await p.command("/dice")).startswith("🎲 ")
        assert await p.use([("dice", {"sides": 1})]) == ["1"]
        await p.wait_idle()


async def test_the_plugin_of_the_page_about_jobs_works(tmp_path: Path) -> None:
    async with pilot(tmp_path, plugins={"fetch": plugin_of("jobs.md")}) as p:
        job = (await p.post("/api/jobs", {"name": "fetch", "data": {"url": "https://example.org"}})).json
        assert (await p.wait_run(job["runId"]))["outcome"] == "ok"
        wrong = (await p.post("/api/jobs", {"name": "fetch", "data": {"url": "ftp://example.org"}})).json
        assert (await p.wait_run(wrong["runId"]))["outcome"] == "error"
