"""Files that people send: pictures under `media/` in the state folder, everything else in the agent's workspace.

A file is on disk before the message that refers to it is accepted. Pictures are named by their content, so that the
same one is kept once; models see them. Other files keep a readable name, in the folder `incoming` of the workspace,
where the assistant's tools can read them. Nothing deletes them but their owner.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.channel import DeliveryError
from gateway.config import Paths
from gateway.routes import Attachment, RemoteFile
from gateway.views import capped

IMAGES: Mapping[str, tuple[str, bytes]] = {
    "image/png": (".png", b"\x89PNG\r\n\x1a\n"),
    "image/jpeg": (".jpg", b"\xff\xd8\xff"),
    "image/gif": (".gif", b"GIF8"),
    "image/webp": (".webp", b"RIFF"),
}
"""Media type → file ending and how such a file begins. These are the types that models can see."""
LARGEST_FILE = 20 * 1024 * 1024
INCOMING = "incoming"
_UNFIT = re.compile(r"[^\w.() -]+")


def is_picture(content: bytes, media_type: str) -> bool:
    """Whether it is a picture that models can see, and what it is said to be."""
    known = IMAGES.get(media_type)
    return known is not None and content.startswith(known[1])


def keep_picture(paths: Paths, content: bytes, media_type: str, name: str = "") -> Attachment:
    """Writes a picture to disk, named by its content.

    Raises:
        OSError: the disk doesn't take it.
    """
    path = paths.state / "media" / (hashlib.sha256(content).hexdigest() + IMAGES[media_type][0])
    _write(path, content)
    return Attachment(str(path), media_type, name)


def keep_document(workspace: Path, content: bytes, media_type: str, name: str) -> Attachment:
    """Writes a file into a workspace, under its own name and the beginning of its content's hash.

    Raises:
        OSError: the disk doesn't take it.
    """
    fit = _UNFIT.sub("_", Path(name).name).strip(" .")[-80:] or "file"
    path = workspace / INCOMING / f"{hashlib.sha256(content).hexdigest()[:8]}-{fit}"
    _write(path, content)
    return Attachment(str(path), media_type, name)


async def fetch_all(
    files: Sequence[RemoteFile], paths: Paths, workspace: Path
) -> tuple[tuple[Attachment, ...], tuple[str, ...]]:
    """Fetches what a person has sent and keeps it.

    Returns:
        What could be kept, and a sentence for each that couldn't.
    """
    kept: list[Attachment] = []
    faults: list[str] = []
    for file in files:
        try:
            kept.append(await _fetch(file, paths, workspace))
        except (DeliveryError, OSError) as error:
            faults.append(
                f"[a file was sent, but it can't be read: {capped(file.name, 80)}: {capped(str(error), 200)}]"
            )
    return tuple(kept), tuple(faults)


async def _fetch(file: RemoteFile, paths: Paths, workspace: Path) -> Attachment:
    if file.size is not None and file.size > LARGEST_FILE:
        raise DeliveryError(f"it is larger than {LARGEST_FILE // 1024 // 1024} MB", permanent=True)
    content = await file.fetch(LARGEST_FILE)
    media_type = _picture_type(content, file.media_type.partition(";")[0].strip().lower() or "application/octet-stream")
    if is_picture(content, media_type):
        return await asyncio.to_thread(keep_picture, paths, content, media_type, file.name)
    return await asyncio.to_thread(keep_document, workspace, content, media_type, file.name)


def _picture_type(content: bytes, said: str) -> str:
    """Which kind of picture it is, whatever kind a platform says; what is no picture is what it is said to be."""
    if not said.startswith("image/"):
        return said
    return next((kind for kind, (_, beginning) in IMAGES.items() if content.startswith(beginning)), said)


def _write(path: Path, content: bytes) -> None:
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
