"""Where Laneway keeps its files: the names inside the state folder.

Owns no file and creates none; it only says where each one stands, so that no other part spells a name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HOME_VARIABLE = "LANEWAY_HOME"


def home_folder(environ: Mapping[str, str]) -> Path:
    """The person's home folder by `HOME`, else by the operating system."""
    home = environ.get("HOME")
    return Path(home) if home else Path.home()


def expand_home(text: str, home: Path) -> Path:
    """`text` as a path in which a leading `~` stands for `home`."""
    if text == "~":
        return home
    return home / text[2:] if text.startswith("~/") else Path(text)


@dataclass(frozen=True, slots=True)
class Paths:
    """Every path inside one state folder."""

    state: Path
    """The state folder, absolute; `LANEWAY_HOME`, default `~/.laneway`."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Paths":
        """The paths that this environment asks for; touches no file."""
        home = home_folder(environ)
        state = environ.get(HOME_VARIABLE)
        return cls((expand_home(state, home) if state else home / ".laneway").absolute())

    @property
    def config_file(self) -> Path:
        """The configuration that is read where none is named."""
        return self.state / "config.json5"

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.state / "laneway.db"

    @property
    def lock(self) -> Path:
        """The file whose lock one gateway holds while it lives."""
        return self.state / "gateway.lock"

    @property
    def gateway_json(self) -> Path:
        """Url, pid and version of the gateway that listens."""
        return self.state / "gateway.json"

    @property
    def token(self) -> Path:
        """The bearer token made at the first start."""
        return self.state / "token"

    @property
    def agents(self) -> Path:
        """The folder that holds one folder for each agent."""
        return self.state / "agents"

    @property
    def history(self) -> Path:
        """What was typed in `laneway chat`."""
        return self.state / "history"

    def workspace(self, agent_id: str, *, default: bool = False) -> Path:
        """Workspace of an agent that names none: `workspace` for the default agent, else `workspace-<id>`."""
        return self.state / ("workspace" if default else f"workspace-{agent_id}")

    def session_dir(self, agent_id: str) -> Path:
        """The folder of an agent's transcripts."""
        return self.agents / agent_id / "sessions"
