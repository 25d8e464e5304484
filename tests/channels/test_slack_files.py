"""Files that people send in Slack: stored, and named or shown to the model."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from gateway.media import LARGEST_FILE
from tests.support.model_script import Json, Seen
from tests.support.slack_gateway import GENERAL, SlackRoom, slack_room

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
SEEING = {"models": {"providers": {"test": {"models": [{"id": "scripted", "input": ["text", "image"]}]}}}}


def pictures(seen: Seen) -> list[str]:
    """The pictures that a model request shows, as data URLs."""
    parts: list[Json] = []
    for message in seen.messages:
        if isinstance(message["content"], list):
            parts += cast("list[Json]", message["content"])
    return [str(part["image_url"]["url"]) for part in parts if part["type"] == "image_url"]


async def sends(room: SlackRoom, text: str, **files: bytes) -> Seen:
    """Ann sends files, `_` in their names standing for a dot; returns the model's request."""
    named = {name.replace("_", "."): content for name, content in files.items()}
    thread = await room.ann.says(GENERAL, text, mention=True, files=named)
    await room.ws.wait_message("heard", thread=thread)
    await room.settled(thread)
    return room.p.main_requests()[-1]


async def test_a_picture_is_shown_to_a_model_that_sees(tmp_path: Path) -> None:
    """Slack: files sent to the bot are stored and named to the model; a seeing model sees a picture."""
    async with slack_room(tmp_path, config=SEEING) as room:
        room.echo()
        seen = await sends(room, "what is this?", chart_png=PNG)
        [picture] = pictures(seen)
        assert picture.startswith("data:image/png;base64,")
        [kept] = (room.p.paths.state / "media").iterdir()
        assert kept.read_bytes() == PNG
        assert kept.stat().st_mode & 0o777 == 0o600


async def test_a_document_is_stored_whole_and_named(tmp_path: Path) -> None:
    """Slack: … a document lies in the workspace, where tools can read it, whatever its size and its name."""
    async with slack_room(tmp_path) as room:
        room.echo()
        large = bytes(range(256)) * 4_000
        seen = await sends(room, "read it", report_pdf=large, notes_txt=b"remember the milk")
        folder = room.p.workspace / "incoming"
        report, notes = sorted(folder.iterdir(), key=lambda file: -file.stat().st_size)
        assert report.read_bytes() == large and notes.read_bytes() == b"remember the milk"
        for file in (report, notes):
            assert f"incoming/{file.name}" in seen.last_user
        assert "ann: read it" in seen.last_user
        again = await sends(room, "", **{"../../evil/.._txt": b"no"})
        assert [file.parent for file in folder.rglob("*") if file.read_bytes() == b"no"] == [folder]
        assert "incoming/" in again.last_user


async def test_a_file_that_can_t_be_had_is_said(tmp_path: Path) -> None:
    """Slack: a file that is too large, or gone, is named to the model with the reason; its message isn't lost."""
    async with slack_room(tmp_path) as room:
        room.echo()
        seen = await sends(room, "unpack it", huge_zip=bytes(LARGEST_FILE + 1))
        assert "it can't be read: huge.zip: it is larger than 20 MB" in seen.last_user
        thread = await room.ann.says(GENERAL, "and this?", mention=True, files={"gone.txt": b"x"})
        room.ws.files.clear()
        await room.ws.wait_message("heard: ann: and this", thread=thread)
        await room.settled(thread)
        heard = room.p.main_requests()[-1].last_user
        assert "ann: and this?" in heard and "it can't be read: gone.txt: Slack answered with status 404" in heard
        assert not (room.p.workspace / "incoming").exists()


async def test_a_stranger_s_files_are_not_even_fetched(tmp_path: Path) -> None:
    """Channels 2: who may not speak leaves nothing on the disk."""
    async with slack_room(tmp_path) as room:
        await room.bob.says("dm", "look", files={"virus.exe": b"boo"})
        await room.ws.wait_message("pairing approve", channel=room.bob.dm)
        await room.ann.says(GENERAL, "not addressed", files={"other.txt": b"x"})
        await room.ws.wait_delivered()
        assert not (room.p.workspace / "incoming").exists()
