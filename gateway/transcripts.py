"""Transcript files: each ended sub-agent's conversation as JSONL, one message a line.

A file is written and synced inside the transaction that ends the run, so that it is complete before anybody is told;
a file that a crash has lost is written the same again at start-up, from the rows (spec/subagents.md 22, 30).
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

from gateway.config import Paths
from gateway.store import transcript
from gateway.store.database import Transaction
from gateway.store.sessions import Session
from gateway.views import message_json


class TranscriptFiles:
    """The transcript files below `agents/<agentId>/sessions/`."""

    def __init__(self, paths: Paths, *, sync: bool = True) -> None:
        """
        Args:
            paths: where the state is.
            sync: wait until the disk has a file before it counts as written.
        """
        self._paths = paths
        self._sync = sync

    @property
    def state(self) -> Path:
        """The state folder that they are in."""
        return self._paths.state

    def path(self, session: Session) -> Path:
        """Where a session's transcript is, or will be."""
        return self._paths.session_dir(session.agent_id) / f"{session.id}.jsonl"

    def render(self, tx: Transaction, session: Session) -> str:
        """The file's whole text; the same rows give the same text."""
        lines = (json.dumps(message_json(message), ensure_ascii=False) for message in transcript.load(tx, session.id))
        return "".join(line + "\n" for line in lines)

    def write(self, tx: Transaction, session: Session) -> Path:
        """Writes the file whole, by way of a temporary one, and returns its path."""
        path = self.path(session)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_suffix(".tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(self.render(tx, session))
            if self._sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
        return path

    def restore(self, tx: Transaction, session: Session) -> bool:
        """Writes the file again if it isn't what the rows say; returns whether it did."""
        path = self.path(session)
        if path.exists() and path.read_text(encoding="utf-8") == self.render(tx, session):
            return False
        self.write(tx, session)
        return True

    def retired_path(self, session: Session, ended_at: int) -> Path:
        """The name that the file gets when its session is archived; known as soon as the run has ended."""
        moment = datetime.fromtimestamp(ended_at / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
        path = self.path(session)
        return path.with_name(f"{path.name}.deleted.{moment}")
