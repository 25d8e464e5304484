"""`laneway config`: exit codes, what is shown, and what is covered."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.config import app


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    monkeypatch.delenv("LANEWAY_CONFIG", raising=False)
    return {"LANEWAY_HOME": str(tmp_path), "OPENAI_API_KEY": "sk-from-the-environment"}


def test_check_says_yes(environ: dict[str, str | None], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["check"], env=environ)
    assert (result.exit_code, result.stdout) == (
        0,
        "The configuration is valid (no file, only defaults and the environment).\n",
    )
    (tmp_path / "config.json5").write_text("{ agents: { defaults: { subagents: { allowAgents: ['x'] } } } }")
    result = CliRunner().invoke(app, ["check"], env=environ)
    assert (result.exit_code, "config.json5, 1 warning)" in result.stdout) == (0, True)
    assert "warning: " in result.stderr and "names no configured agent" in result.stderr


def test_check_says_no(environ: dict[str, str | None], tmp_path: Path) -> None:
    file = tmp_path / "other.json5"
    file.write_text("{\n  gateway: { prot: 1 },\n  owners: 3 }")
    result = CliRunner().invoke(app, ["check", "--config", str(file)], env=environ)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines() == [
        f"{file}:3:11: owners must be a list of text, not 3",
        f"{file}:2:14: gateway.prot is no known key (did you mean “port”?)",
        "2 problems; nothing was changed.",
    ]


CONFIG = """{
  agents: { defaults: { model: "x/y" }, list: [{ id: "Ops", workspace: "/w" }] },
  models: { providers: { X: { apiKey: "key-in-the-file", baseUrl: "https://me:url-password@h/v1" } } },
  database: { url: "postgresql://me:db-password@h/x" },
  gateway: { auth: { token: "${TOKEN}" } },
}"""


def test_show_tells_where_each_value_came_from(environ: dict[str, str | None], tmp_path: Path) -> None:
    (tmp_path / "config.json5").write_text(CONFIG)
    environ |= {"TOKEN": "token-by-variable", "LANEWAY__GATEWAY__PORT": "99"}
    result = CliRunner().invoke(app, ["show", "--json"], env=environ)
    assert result.exit_code == 0
    rows = {row["key"]: (row["value"], row["source"]) for row in json.loads(result.stdout)["settings"]}
    assert rows["gateway.port"] == (99, "env")
    assert rows["gateway.host"] == ("127.0.0.1", "default")
    assert rows["gateway.auth.token"] == ("***", "file")
    assert rows["agents.defaults.model.primary"] == ("x/y", "file")
    assert rows["agents.list[0].id"] == ("ops", "file")
    assert rows["models.providers.x.apiKey"] == ("***", "file")
    assert rows["models.providers.x.baseUrl"] == ("https://me:***@h/v1", "file")
    assert rows["models.providers.openai.apiKey"] == ("***", "env")
    assert rows["database.url"] == ("postgresql://me:***@h/x", "file")


def test_show_covers_secrets(environ: dict[str, str | None], tmp_path: Path) -> None:
    (tmp_path / "config.json5").write_text(CONFIG)
    environ |= {"TOKEN": "token-by-variable"}
    shown = CliRunner().invoke(app, ["show"], env=environ).stdout
    for secret in (
        "key-in-the-file",
        "url-password",
        "db-password",
        "token-by-variable",
        "sk-from-the-environment",
    ):
        assert secret not in shown
    assert '"***"  [env OPENAI_API_KEY]' in shown


def test_schema_is_json() -> None:
    result = CliRunner().invoke(app, ["schema"])
    assert json.loads(result.stdout)["additionalProperties"] is False
