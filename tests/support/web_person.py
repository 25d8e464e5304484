"""A person in front of the page, without a browser: signs in by a code, keeps the cookie, and asks as the page does."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.support.pilot import Pilot

KEY = "agent:main:main"
BOB = "agent:main:web:dm:Bob"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer."""

    status: int
    text: str
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.text)

    @property
    def error(self) -> str:
        """What is wrong, if something is."""
        return str(self.json["error"]["message"])


@dataclass
class Person:
    """Somebody with a browser of his own."""

    p: Pilot
    http: aiohttp.ClientSession
    cookie: str = ""
    csrf: str = ""
    set_cookie: str = ""
    """The header as it came."""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    """Over those that a page sends; an empty one is left out."""

    @property
    def origin(self) -> str:
        """That of the pages."""
        return self.p.gateway.url

    async def ask(self, method: str, path: str, **more: Any) -> Answer:
        """One request as a page of this person makes it."""
        headers = {"Accept-Encoding": "identity", "Cookie": self.cookie}
        if method == "POST":
            headers |= {"Origin": self.origin, "X-Laneway-CSRF": self.csrf}
        headers |= self.headers | more.pop("headers", {})
        headers = {name: value for name, value in headers.items() if value}
        more.setdefault("allow_redirects", False)
        async with self.http.request(method, self.p.gateway.url + path, headers=headers, **more) as response:
            return Answer(response.status, await response.text("utf-8", "replace"), response.headers)

    async def get(self, path: str, **more: Any) -> Answer:
        """A GET."""
        return await self.ask("GET", path, **more)

    async def post(self, path: str, body: Any = None, **more: Any) -> Answer:
        """A POST with a JSON body."""
        return await self.ask("POST", path, json={} if body is None else body, **more)

    async def swap(self, code: str, **more: Any) -> Answer:
        """Swaps a code for a cookie, and reads the page for its CSRF text."""
        answer = await self.post("/web/signin", {"code": code}, **more)
        if answer.status == 200:
            self.set_cookie = answer.headers["Set-Cookie"]
            self.cookie = self.set_cookie.partition(";")[0]
            page = await self.get("/web")
            found = re.search(r'name="laneway-csrf" content="([^"]+)"', page.text)
            assert found, page.text
            self.csrf = found[1]
        return answer

    async def send(self, text: str, key: str = KEY, **more: Any) -> Answer:
        """Sends a message as the page does."""
        return await self.post(f"/web/chat/{key}/messages", {"id": uuid.uuid4().hex, "text": text, **more})

    async def log(self, key: str = KEY, query: str = "") -> Any:
        """What the page's script is told of a conversation."""
        answer = await self.get(f"/web/chat/{key}/log{query}")
        assert answer.status == 200, answer.text
        return answer.json


async def code_for(p: Pilot, scope: str = "operator", name: str | None = None) -> str:
    """The code of a new link."""
    response = await p.post("/api/signins", {"scope": scope, **({"name": name} if name else {})})
    assert response.status == 201, response.text
    return str(response.json["url"]).partition("#code=")[2]


async def person(p: Pilot, http: aiohttp.ClientSession, scope: str = "operator", name: str | None = None) -> Person:
    """Somebody who is signed in."""
    who = Person(p, http)
    answer = await who.swap(await code_for(p, scope, name))
    assert answer.status == 200, answer.text
    return who
