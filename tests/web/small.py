"""Small pictures: a screenshot in at most 256 colours, of which a page on a screen has few.

The browser itself reads the picture and finds the colours; what it gives back is written as a PNG with a palette.
"""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

from playwright.async_api import Page

COUNT = """async (data) => {
  const picture = await createImageBitmap(await (await fetch(`data:image/png;base64,${data}`)).blob());
  const { width, height } = picture;
  const canvas = new OffscreenCanvas(width, height).getContext("2d");
  canvas.drawImage(picture, 0, 0);
  const pixels = new Uint32Array(canvas.getImageData(0, 0, width, height).data.buffer);
  const seen = new Map();
  for (const each of pixels) seen.set(each, (seen.get(each) ?? 0) + 1);
  const apart = (one, other) => [0, 8, 16].reduce(
    (sum, bits) => sum + ((one >> bits & 255) - (other >> bits & 255)) ** 2, 0);
  const palette = [];
  for (const [colour] of [...seen].sort((a, b) => b[1] - a[1])) {
    if (palette.length < 256 && palette.every((each) => apart(each, colour) > 100)) palette.push(colour);
  }
  const place = new Map(palette.map((colour, index) => [colour, index]));
  const near = (colour) => {
    let best = 0, least = Infinity;
    palette.forEach((each, index) => {
      const away = apart(each, colour);
      if (away < least) [best, least] = [index, away];
    });
    place.set(colour, best);
    return best;
  };
  const found = Uint8Array.from(pixels, (each) => place.get(each) ?? near(each));
  let text = "";
  for (let at = 0; at < found.length; at += 8192) text += String.fromCharCode(...found.subarray(at, at + 8192));
  return { width, height, palette, pixels: btoa(text) };
}"""


async def small(page: Page, png: bytes) -> bytes:
    """The same picture as a PNG with a palette.

    Args:
        page: an empty page, to work in.
        png: the picture.
    """
    found: dict[str, Any] = await page.evaluate(COUNT, base64.b64encode(png).decode())
    width, height = int(found["width"]), int(found["height"])
    pixels = base64.b64decode(found["pixels"])
    rows = b"".join(b"\0" + pixels[start : start + width] for start in range(0, width * height, width))
    colours = b"".join(bytes((each & 255, each >> 8 & 255, each >> 16 & 255)) for each in found["palette"])
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", colours),
            _chunk(b"IDAT", zlib.compress(rows, 9)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
