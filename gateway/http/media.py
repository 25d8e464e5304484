"""Pictures that people send over HTTP, kept as files under `media/` in the state folder.

A file is named by its content, so that the same picture is kept once, and is on disk before the message that refers
to it is accepted. Nothing deletes them but their owner.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.config import Paths
from gateway.http.errors import ApiError
from gateway.routes import Attachment

IMAGES: Mapping[str, tuple[str, bytes]] = {
    "image/png": (".png", b"\x89PNG\r\n\x1a\n"),
    "image/jpeg": (".jpg", b"\xff\xd8\xff"),
    "image/gif": (".gif", b"GIF8"),
    "image/webp": (".webp", b"RIFF"),
}
"""Media type → file ending and how such a file begins. These are the types that models can see."""
MOST_FILES = 20


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture out of a request, checked."""

    content: bytes
    media_type: str
    name: str = ""


def decode(encoded: str, media_type: str, field: str, name: str = "") -> Picture:
    """A picture from base64.

    Args:
        encoded: its content.
        media_type: what the sender says it is.
        field: where it stands in the body, for the error.
        name: what the sender calls it.

    Raises:
        ApiError: 400, if it isn't base64, of another type, or not what it is said to be.
    """
    known = IMAGES.get(media_type.strip().lower())
    if known is None:
        raise ApiError(400, f"`{field}`: the media type must be one of {', '.join(IMAGES)}", field=field)
    try:
        content = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ApiError(400, f"`{field}`: this isn't base64", field=field) from None
    if not content.startswith(known[1]):
        raise ApiError(400, f"`{field}`: this isn't a file of type {media_type}", field=field)
    return Picture(content, media_type.strip().lower(), name)


async def keep(paths: Paths, pictures: Sequence[Picture]) -> tuple[Attachment, ...]:
    """Writes pictures to disk and returns what a message refers to.

    Raises:
        ApiError: 507 if the disk doesn't take them.
    """
    if not pictures:
        return ()
    try:
        return await asyncio.to_thread(_keep_all, paths.state / "media", pictures)
    except OSError as error:
        raise ApiError(507, f"the picture can't be stored: {error.strerror or error}") from error


def _keep_all(folder: Path, pictures: Sequence[Picture]) -> tuple[Attachment, ...]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return tuple(Attachment(str(_keep(folder, picture)), picture.media_type, picture.name) for picture in pictures)


def _keep(folder: Path, picture: Picture) -> Path:
    path = folder / (hashlib.sha256(picture.content).hexdigest() + IMAGES[picture.media_type][0])
    if path.exists():
        return path
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(picture.content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return path
