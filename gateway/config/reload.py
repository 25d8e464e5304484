"""What a new configuration can't change while the gateway runs."""

from gateway.config.models import Config
from gateway.config.positions import KeyPath
from gateway.config.problems import path_text
from gateway.config.tree import leaves

_FIXED: tuple[KeyPath, ...] = (("gateway", "host"), ("gateway", "port"), ("database",), ("plugins",), ("workers",))
"""Takes effect at the next start: the socket, the database and the plugins are opened once."""
_CONNECTION = frozenset(
    ("enabled", "mode", "botToken", "appToken", "signingSecret", "apiUrl", "apiRoot", "webhookUrl", "webhookSecret")
)
"""What an account of a channel is connected with, likewise."""


def diff_restart(old: Config, new: Config) -> tuple[str, ...]:
    """The key paths whose change takes effect only after a restart, in the order of the configuration."""
    before, after = _fixed(old), _fixed(new)
    return tuple(path_text(path) for path in {**before, **after} if before.get(path) != after.get(path))


def _fixed(config: Config) -> dict[KeyPath, object]:
    return {
        path: value
        for path, _, value in leaves(config, Config.shape)
        if any(path[: len(fixed)] == fixed for fixed in _FIXED) or (path[0] == "channels" and path[-1] in _CONNECTION)
    }
