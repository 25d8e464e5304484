"""Writes the documentation of the configuration from its models.

`python -m gateway.config.reference > docs/configuration.md` makes the page anew; nothing else is written.
"""

import json
import sys
from collections.abc import Iterator

from pydantic.fields import FieldInfo

from gateway.config.base import Section
from gateway.config.models import Config
from gateway.config.providers import KNOWN_PROVIDERS
from gateway.config.tree import REPEATED, Shape, keys_below, words

_INTRODUCTION = """\
# Configuration

*Made from the models in `gateway/config` by `python -m gateway.config.reference`; don't edit it by hand.*

Laneway needs no configuration: with a provider's key in the environment it uses that provider, without
one the offline demo. To change something, write `config.json5` into the state folder (`LANEWAY_HOME`,
default `~/.laneway`), or name another file with `--config` or `LANEWAY_CONFIG`. `config.example.json5`
shows every key.

- The file is [JSON5](https://json5.org): comments, trailing commas and unquoted keys are welcome.
- `${VAR}` in a text becomes the value of that environment variable, `${VAR:-default}` has a default, and
  `$${` is a plain `${`.
- Every key can be set from the environment as well, which goes before the file:
  `LANEWAY__GATEWAY__PORT=8080`, `LANEWAY__AGENTS__DEFAULTS__SUBAGENTS__MAX_CONCURRENT=3`. Two underscores
  part the levels; lists are written as JSON5 or with commas, objects as JSON5.
- A key that doesn't exist is an error, and so is a variable `LANEWAY__…` that names none. All errors are
  told at once, each with file, line, column and key path.
- `laneway config check` looks for errors, `laneway config show` prints what is in force and where it came
  from (with secrets covered), `laneway config schema` prints a JSON Schema, which a file may name as
  `$schema`.
- A running gateway reads the file again on SIGHUP or `laneway reload`. If it is wrong the old
  configuration stays. `gateway.host`, `gateway.port`, `database.*` and `plugins.*` take effect at the
  next start.
- `agents.entries` holds the same as `agents.list`, as a record whose keys are the ids.
- A model is named `provider/model`, by an alias of `models.aliases`, or by its bare name if only one
  configured model has it.
"""

_PROVIDERS = """\
## Providers that need no entry

A key in the usual variable is enough. Where no model is configured, the first of these that has a key is
used, with the model named here. An entry in `models.providers` goes before all of it. What an entry
leaves unset is looked for in the agent's own `models.providers`, then in the shared ones, then in those
of the default agent, then in the environment; an entry with its own `baseUrl` takes no key and no headers
from another entry.
"""


def reference() -> str:
    """The whole page as Markdown."""
    lines = [_INTRODUCTION]
    for heading, rows in _sections():
        lines += [f"## {heading}\n", "| key | takes | default | |", "|---|---|---|---|", *rows, ""]
    lines += [_PROVIDERS, "| provider | variable | model | address |", "|---|---|---|---|", *_provider_rows()]
    return "\n".join(lines) + "\n"


def _sections() -> Iterator[tuple[str, list[str]]]:
    rows: dict[str, list[str]] = {}
    for key, shape, field in keys_below(Config.shape):
        if _is_leaf(shape) or key in REPEATED:
            rows.setdefault(_heading(key), []).append(_row(key, shape, field))
    yield from rows.items()


def _heading(key: str) -> str:
    for prefix in ("agents.defaults.subagents", "agents.defaults", "agents.list[]", "models.providers"):
        if key.startswith(prefix + "."):
            return prefix
    return key.partition(".")[0]


def _is_leaf(shape: Shape) -> bool:
    inner = shape.items or shape.values
    return not _is_inner_section(shape) and not (inner and _is_inner_section(inner))


def _is_inner_section(shape: Shape) -> bool:
    # A model may be written as a text, and so counts as a value.
    return shape.section is not None and words(shape) == "object"


def _row(key: str, shape: Shape, field: FieldInfo) -> str:
    takes = words(shape).replace("|", "\\|")
    return f"| `{key}` | {takes} | {_default(field)} | {field.description} |"


def _default(field: FieldInfo) -> str:
    value: object = field.default
    if field.is_required():
        return "required"
    if value is None or isinstance(value, Section):
        return "–"
    return f"`{json.dumps(value)}`"


def _provider_rows() -> Iterator[str]:
    for name, known in KNOWN_PROVIDERS.items():
        variables = " or ".join(f"`{variable}`" for variable in known.variables) or "none needed, only an entry"
        model = f"`{known.default_model}`" if known.default_model else "–"
        yield f"| `{name}` | {variables} | {model} | {known.base_url or 'as litellm knows it'} |"


if __name__ == "__main__":
    sys.stdout.write(reference())
