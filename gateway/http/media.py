"""Pictures that people send over HTTP: read out of a request, checked, and kept (`gateway/media.py`)."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.config import Paths
from gateway.http.errors import ApiError
from gateway.media import IMAGES, is_picture, keep_picture
from gateway.routes import Attachment

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
    if media_type.strip().lower() not in IMAGES:
        raise ApiError(400, f"`{field}`: the media type must be one of {', '.join(IMAGES)}", field=field)
    try:
        content = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ApiError(400, f"`{field}`: this isn't base64", field=field) from None
    if not is_picture(content, media_type.strip().lower()):
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
        return await asyncio.to_thread(_keep_all, paths, pictures)
    except OSError as error:
        raise ApiError(507, f"the picture can't be stored: {error.strerror or error}") from error


def _keep_all(paths: Paths, pictures: Sequence[Picture]) -> tuple[Attachment, ...]:
    return tuple(keep_picture(paths, each.content, each.media_type, each.name) for each in pictures)
