"""The way in at the command line: the link that a start prints, `laneway open`, and who is signed in."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.laneway import REPOSITORY, Home

LINK = re.compile(r"http://127\.0\.0\.1:\d+/web#code=[\w-]{20,}")


def test_a_start_prints_a_link_and_open_makes_more(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with home.gateway() as running:
        assert running.process.stdout is not None
        printed = LINK.search(running.process.stdout.readline())
        assert printed
        opened = home.run("open", "--print")
        assert opened.code == 0 and LINK.fullmatch(opened.out.strip())
        assert printed[0] != opened.out.strip()
        chat = home.run("open", "--print", "--scope", "chat", "--name", "Bob", "--json").json
        assert chat["scope"] == "chat" and chat["name"] == "Bob" and chat["validSeconds"] == 600
        token = (home.state / "token").read_text("utf-8").strip()
        assert token not in opened.out + str(chat)
        assert "No browser is signed in" in home.run("sessions", "web", "list").out
        assert home.run("sessions", "web", "list", "--json").json == {"signIns": []}
        missing = home.run("sessions", "web", "revoke", "nothing")
        assert missing.code == 1 and "no such sign-in" in missing.err
        assert home.run("sessions", "web", "revoke", "all").code == 0


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    home = Home(tmp_path)
    nameless = home.run("open", "--scope", "chat")
    assert nameless.code == 2 and "--name" in nameless.err
    assert "no scope" in home.run("open", "--scope", "admin").err
    assert "no gateway is running" in home.run("open", "--print").err


def test_without_the_plugin_nothing_is_printed_and_nothing_served(tmp_path: Path) -> None:
    home = Home(tmp_path, {"LANEWAY__PLUGINS__DISABLED": '["web"]'})
    with home.gateway() as running:
        url = re.search(r"http://[\d.:]+", running.line)
        assert url
    assert running.process.stdout is not None
    assert running.process.stdout.closed or running.process.stdout.read() == ""


def test_a_gateway_whose_page_nobody_opens_has_no_template_in_memory() -> None:
    code = (
        "import sys, gateway.app, channels.web.plugin; "
        "print(sorted({'jinja2', 'markupsafe', 'markdown_it'} & set(sys.modules)))"
    )
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )
    assert done.stdout.strip() == "[]"
