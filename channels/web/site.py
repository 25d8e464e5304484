"""The site: what a page is, what a live piece of one is, and how both are kept from whom they aren't for.

**To add a page** write a module with a `Page` and its template, and name it in `pages.py`:

    PAGE = Page("/web/runs", "Runs", "runs.html", load, icon="runs", fragments=("runs-list",))

    async def load(view: View) -> Mapping[str, Any]: …

`load` gets the request as a `View`: `view.eyes` is who looks (ask it what he may see), `view.params` are the path's and
the query's parameters, `view.read(unit, …)` reads the database. It returns the template's values. The template extends
`base.html` and fills the block `content`; navigation, command box, sign-in, errors and headers are the site's. With an
`icon` (a symbol of `static/icons.svg`) the page stands in the navigation; with `operator=True` nobody else sees it.

**To add a live piece** write a `Fragment` and name it in `pages.py`, and in the `fragments` of the pages that show it:

    LIST = Fragment("runs-list", "runs_list.html", load_list, on=("run", "progress"))

Its template is a piece of HTML without a frame. In the page `{{ fragment["runs-list"] }}` puts it in its place,
rendered at once and inside `<section data-fragment="/web/fragments/runs-list?…" data-on="run progress">`. The page
asks for it again, with the same parameters, at most once a second when an event of such a type was seen, and puts the
answer in the place of the old piece node by node, so that focus, selection, scrolling and open `<details>` stay. With
`every=5` it is also asked for every five seconds. `load` may say otherwise for what it shows: values `on` and `every`;
with `key`, the key of a session, only what happens in that session counts, and whatever changes a run. Give an `id` to
everything in it that may move or go. Times: `{{ time(ms) }}` and `{{ since(ms) }}` of `macros.html`, which the browser
keeps counting; a text that changes with every second would make every answer a new one.
Types of events: `message run progress idle approval delivery session`; for somebody who isn't an operator, those of
what he sees.

**To add an action** write `async def handler(view) -> web.Response` and name it in `pages.py` as
`Action("/web/runs/{id}/stop", handler)`. It is reached by POST, by who is signed in, with the proof that a page of ours
asks (`gateway/http/cookies.py`); whether he may do *this* is the handler's to ask of `view.eyes`. In a template
`<button data-post="/web/runs/…/stop">` or `<form data-post="…">` calls it, shows its `text`, and stirs the fragments.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import urlencode

from aiohttp import web

from channels.web import render
from channels.web.eyes import Eyes
from gateway import __version__, events
from gateway.http.auth import Caller, identify, scope
from gateway.http.cookies import csrf_token
from gateway.http.errors import ApiError
from gateway.http.keys import GATEWAY
from gateway.http.shield import respond
from gateway.store.database import Transaction

if TYPE_CHECKING:
    from gateway.app import Gateway

P = ParamSpec("P")
T = TypeVar("T")
FRAGMENTS = "/web/fragments"
EVERYWHERE = ("attention",)
"""Live pieces of every page."""
_UNKNOWN = ApiError(401, "you aren't signed in", hint="laneway open makes a new link")


@dataclass(frozen=True, slots=True)
class View:
    """One request of somebody who is signed in."""

    request: web.Request
    eyes: Eyes
    params: Mapping[str, str]
    """The path's parameters and the query's."""

    @property
    def gateway(self) -> Gateway:
        """The gateway."""
        return self.request.app[GATEWAY]

    def need(self, name: str) -> str:
        """A parameter that must be there.

        Raises:
            ApiError: 400.
        """
        if name not in self.params:
            raise ApiError(400, f"`{name}` is required", field=name)
        return self.params[name]

    async def read(self, unit: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Reads the database."""
        return await self.gateway.database.read(unit, *args, **kwargs)

    async def write(self, unit: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Changes the database."""
        return await self.gateway.database.run(unit, *args, **kwargs)


Load = Callable[[View], Awaitable[Mapping[str, Any]]]
Handler = Callable[[View], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of its own."""

    path: str
    title: str
    template: str
    load: Load
    icon: str = ""
    """Its symbol in the navigation; empty: it isn't there."""
    short: str = ""
    """Its name where there is little room."""
    fragments: Sequence[str] = ()
    """Names of its live pieces."""
    operator: bool = False
    """Nobody else sees it."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """A live piece of a page."""

    name: str
    template: str
    load: Load
    on: Sequence[str] = ()
    """Types of the events after which it is asked for again."""
    every: int = 0
    """Seconds after which it is asked for again, whatever has happened; 0: never."""
    operator: bool = False
    label: str = ""
    """Its name for who can't see where it stands."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something that can be done, by POST."""

    path: str
    handler: Handler


@dataclass(frozen=True, slots=True)
class Source:
    """Something that a page's script asks for, by GET."""

    path: str
    handler: Handler


@dataclass
class Site:
    """Everything under /web that needs a sign-in."""

    pages: Sequence[Page]
    fragments: Sequence[Fragment]
    actions: Sequence[Action]
    sources: Sequence[Source]
    sign_in: Callable[[web.Request], Awaitable[web.Response]]
    """What somebody gets instead of a page who isn't signed in."""
    _by_name: dict[str, Fragment] = field(init=False)

    def __post_init__(self) -> None:
        self._by_name = {each.name: each for each in self.fragments}

    def routes(self) -> list[web.RouteDef]:
        """Their routes; every one of them asks who is there."""
        return [
            *(web.get(page.path, self._page(page)) for page in self.pages),
            *(web.get(f"{FRAGMENTS}/{each.name}", self._fragment(each)) for each in self.fragments),
            *(web.get(each.path, self._guarded(each.handler), allow_head=False) for each in self.sources),
            *(web.post(each.path, self._guarded(each.handler)) for each in self.actions),
            web.get("/web/{rest:.*}", self._guarded(self._missing, html=True)),
        ]

    def _page(self, page: Page) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def show(view: View) -> web.StreamResponse:
            # First of all: whatever happens while the page is made is told to it later.
            position = await view.read(events.newest)
            context = await page.load(view)
            names = (*EVERYWHERE, *page.fragments)
            pieces = {name: await self._piece(view, self._by_name[name], context) for name in names}
            frame = self._frame(view, page.title, view.request.path)
            return await render.page(
                view.request, page.template, {**frame, "position": position, **context, "fragment": pieces}
            )

        return self._guarded(show, html=True, operator=page.operator)

    def _fragment(self, fragment: Fragment) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def show(view: View) -> web.StreamResponse:
            context = {"eyes": view.eyes, **await fragment.load(view)}
            return await render.page(view.request, fragment.template, context, etag=True)

        return self._guarded(show, operator=fragment.operator)

    async def _piece(self, view: View, fragment: Fragment, context: Mapping[str, Any]) -> Any:
        """A fragment inside its page. The page's `params`, if it has any, are the fragment's."""
        if fragment.operator and not view.eyes.operator:
            return ""
        params: Mapping[str, str] = context.get("params", view.params)
        inner = View(view.request, view.eyes, params)
        loaded = await fragment.load(inner)
        html = await render.render(fragment.template, {"eyes": view.eyes, **loaded})
        query = f"?{urlencode(params)}" if params else ""
        values = {
            "fragment": fragment,
            "url": f"{FRAGMENTS}/{fragment.name}{query}",
            "html": html,
            "on": loaded.get("on", fragment.on),
            "every": loaded.get("every", fragment.every),
            "key": loaded.get("key", ""),
        }
        return await render.markup("fragment.html", values)

    def _frame(self, view: View, title: str, path: str) -> dict[str, Any]:
        """What every page needs."""
        shown = [page for page in self.pages if page.icon and (view.eyes.operator or not page.operator)]
        return {
            "title": title,
            "path": path,
            "navigation": shown,
            "eyes": view.eyes,
            "home": view.eyes.home(),
            "csrf": csrf_token(view.request),
            "version": __version__,
        }

    def _guarded(
        self, handler: Handler, *, html: bool = False, operator: bool = False
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """The handler for who is signed in. Open to the guard of the API, because it asks by itself."""

        @scope()
        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                who = await identify(request)
                if who is None:
                    return await (self.sign_in(request) if html else self._refuse(request, _UNKNOWN, html=False))
                _check(who, operator=operator)
                eyes = Eyes(who, request.app[GATEWAY].config)
                view = View(request, eyes, {**request.match_info, **request.query})
                return await handler(view)
            except ApiError as error:
                return await self._refuse(request, error, html=html)

        return guarded

    async def _refuse(self, request: web.Request, error: ApiError, *, html: bool) -> web.Response:
        if not html:
            response = respond(request, error)
            response.headers.update(render.SAFE)
            return response
        who = await identify(request)
        if who is None:
            return await self.sign_in(request)
        view = View(request, Eyes(who, request.app[GATEWAY].config), {})
        context = {**self._frame(view, "Not here", ""), "position": await view.read(events.newest), "error": error}
        return await render.page(request, "error.html", context, status=error.status)

    async def _missing(self, _view: View) -> web.StreamResponse:
        raise ApiError(404, "there is no such page")


def _check(who: Caller, *, operator: bool) -> None:
    """What somebody may not see looks like what there isn't.

    Raises:
        ApiError: 404.
    """
    if not (who.operator or ("chat" in who.scopes and not operator)):
        raise ApiError(404, "there is no such page")
