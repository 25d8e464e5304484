"""An MCP server on stdin and stdout that misbehaves as it is told to. Standard library only; the protocol of 2025.

Usage: python scripted_server.py FOLDER

In FOLDER: `tools.json` (its tools, read whenever they are listed), `refuse` (its last words instead of a start),
`mute` (it starts and answers nothing). It writes its process id to `starts.log` and every call to `calls.log`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[1])
NUMBERS = (
    "echo",
    "hang",
    "freeze",
    "die",
    "env",
    "big",
    "line",
    "flood",
    "picture",
    "fail",
    "garbled",
    "child",
    "grow",
)


def main() -> None:
    """Answers requests, one after the other."""
    with (FOLDER / "starts.log").open("a") as log:
        log.write(f"{os.getpid()}\n")
    if (FOLDER / "refuse").exists():
        sys.exit((FOLDER / "refuse").read_text())
    print("a greeting that is no message", flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message and not (FOLDER / "mute").exists():
            answer(message)


def answer(message: dict[str, Any]) -> None:
    """One request."""
    method = message["method"]
    if method == "initialize":
        version = message["params"]["protocolVersion"]
        info = {"name": "scripted", "version": "1"}
        reply(message, {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info})
    elif method == "tools/list":
        reply(message, {"tools": tools()})
    elif method == "tools/call":
        call(message, message["params"]["name"], message["params"].get("arguments") or {})
    else:
        send({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "no such method"}})


def tools() -> list[dict[str, Any]]:
    """What it lists."""
    file = FOLDER / "tools.json"
    if file.exists():
        return json.loads(file.read_text())
    hints = {"readOnlyHint": True, "idempotentHint": True}
    schema = {"type": "object", "properties": {"text": {"type": "string"}}}
    return [
        {"name": name, "description": f"Does {name}.", "inputSchema": schema, "annotations": hints} for name in NUMBERS
    ]


def call(message: dict[str, Any], name: str, arguments: dict[str, Any]) -> None:
    """One call."""
    with (FOLDER / "calls.log").open("a") as log:
        log.write(f"{name}\n")
    simple = {
        "echo": lambda: arguments.get("text", ""),
        "env": lambda: json.dumps({**os.environ, "cwd": str(Path.cwd())}),
        "big": lambda: "x" * 300_000,
        "line": lambda: "x" * 17_000_000,
        "child": child,
    }
    if name in simple:
        say(message, simple[name]())
    elif name == "freeze":
        time.sleep(600)
    elif name == "die":
        print("the disk is on fire", file=sys.stderr, flush=True)
        os._exit(3)
    elif name == "flood":
        while True:
            notify("notifications/message", {"level": "info", "data": "x"})
    elif name == "picture":
        picture = {"type": "image", "data": "aGVsbG8=", "mimeType": "image/png"}
        reply(message, {"content": [{"type": "text", "text": "see:"}, picture]})
    elif name == "fail":
        send({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32000, "message": "no\x1b[31m luck"}})
    elif name == "garbled":
        reply(message, {"content": "not a list"})
    elif name == "grow":
        notify("notifications/tools/list_changed", {})
        say(message, "grown")


def child() -> str:
    """Starts a process that outlives it if nobody sees to it."""
    return str(subprocess.Popen(["sleep", "611"]).pid)  # noqa: S607


def say(message: dict[str, Any], text: str) -> None:
    """A text as the result."""
    reply(message, {"content": [{"type": "text", "text": text}]})


def reply(message: dict[str, Any], result: dict[str, Any]) -> None:
    """The answer to a request."""
    send({"jsonrpc": "2.0", "id": message["id"], "result": result})


def notify(method: str, params: dict[str, Any]) -> None:
    """Something that nobody asked for."""
    send({"jsonrpc": "2.0", "method": method, "params": params})


def send(message: dict[str, Any]) -> None:
    """One line."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
