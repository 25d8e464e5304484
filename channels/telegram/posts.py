"""What goes out by one bot: posts, edits, cards, streams, marks, topics.

Telegram can't be asked whether a message has arrived. One that may have is sent once more, marked, and not before
Telegram answers again; if that is in doubt too, it stays listed in the outbox for a person to decide on. Edits,
deletions and marks come to the same however often they are done. Nothing here survives a crash, and nothing needs to.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Any

from telegram import ForumTopic, InlineKeyboardMarkup, Message

from channels.telegram import content, markdown, texts
from channels.telegram.api import GONE, NO_PREVIEW, STALE, UNMODIFIED, UNREADABLE, Api
from channels.telegram.content import Content, content_of, entities_of
from channels.telegram.entities import units
from channels.telegram.markdown import Rendered
from channels.telegram.moves import Moves, message_at
from channels.telegram.pace import Pace
from channels.telegram.places import Places
from channels.telegram.stream import Draft, Edits
from gateway.channel import DeliveryError, Live, Mark, Opening, Post
from gateway.routes import Route
from gateway.views import capped

REACTIONS = {Mark.WORKING: "👀", Mark.DONE: "👍", Mark.FAILED: "💔"}
"""Of the few emoji that bots may react with."""
ANSWER_UNITS = 200
"""What fits into the answer to a button."""
ALERT_UNITS = 80
"""An answer that is longer stays until it is closed."""
TITLE_CHARS = 128
REMEMBERED = 2_000
PATIENCE_SECONDS = 10.0
"""How long a pause may be for which a topic that has just been opened waits for its first message."""
AGAIN = Rendered(content.SENT_AGAIN, (), content.SENT_AGAIN)
COUNTED = frozenset(("send_message", "edit_message_text"))
"""What has to keep the pace."""

Shown = tuple[Rendered, InlineKeyboardMarkup | None]


class Posts:
    """Sends for one bot."""

    def __init__(self, account: str, api: Api, pace: Pace, places: Places, moves: Moves) -> None:
        self._account = account
        self._api = api
        self._pace = pace
        self._places = places
        self._moves = moves
        self._ready: set[Route] = set()
        """Routes whose next post has waited its turn."""
        self._shown: OrderedDict[tuple[str, str], Shown] = OrderedDict()
        """Chat and message → what it shows, so that no edit changes nothing."""

    async def ready(self, route: Route) -> None:
        """See `Channel.ready`."""
        await self._pace.turn(self._place(route))
        self._ready.add(route)

    async def post(self, post: Post) -> str | None:
        """See `Channel.post`."""
        due = post.route in self._ready
        self._ready.discard(post.route)
        if post.kind == "retract":
            await self._retract(post)
            return None
        if not due and (wait := self._pace.room(self._place(post.route))) > 0:
            raise DeliveryError("the chat has no room for an edit", retry_after=wait)
        if post.replaces is not None:
            try:
                return await self._replace(post, post.replaces)
            except DeliveryError as error:
                if error.code != GONE:
                    raise
                post = replace(post, replaces=None)
                await self._pace.turn(self._place(post.route))
        if post.recovered:
            await self._api("get_me")  # a copy is sent once: not into a trouble that goes on
        return await self._send(post, content_of(post))

    # ---- messages ----

    async def _send(self, post: Post, made: Content) -> str:
        """Sends messages one after the other; returns the first one's id."""
        ids: list[str] = []
        try:
            for message in made.messages:
                if ids:
                    await self._pace.turn(self._place(post.route))
                last = len(ids) == len(made.messages) - 1
                keyboard = made.keyboard if last else None
                ids.append(await self._send_one(post.route, message, keyboard, quiet=post.card is not None))
        except DeliveryError as error:
            if error.uncertain and post.recovered:
                reason = f"{error}; it was sent twice, and may have arrived twice or not at all"
                raise DeliveryError(reason, permanent=True) from error
            raise
        return ids[0]

    async def _send_one(
        self, route: Route, message: Rendered, keyboard: InlineKeyboardMarkup | None = None, *, quiet: bool = False
    ) -> str:
        more = {"reply_markup": keyboard, "disable_notification": quiet or None, "link_preview_options": NO_PREVIEW}
        sent: Message = await self._readable("send_message", route, message, **more)
        message_id = self._moves.name(sent.chat.id, sent.message_id)
        self._remember(route, message_id, message, keyboard)
        return message_id

    async def _replace(self, post: Post, message_id: str) -> str:
        made = content_of(post)
        first, *more = made.messages
        await self._edit(post.route, message_id, first, None if more else made.keyboard)
        if more:
            await self._pace.turn(self._place(post.route))
            await self._send(post, Content((*((AGAIN,) if post.recovered else ()), *more), made.keyboard))
        return message_id

    async def _edit(
        self, route: Route, message_id: str, message: Rendered, keyboard: InlineKeyboardMarkup | None = None
    ) -> None:
        """Edits a message; what may have been done is done again, and comes to the same."""
        if self._shown.pop((route.chat, message_id), None) == (message, keyboard):
            self._remember(route, message_id, message, keyboard)
            return
        try:
            await self._readable(
                "edit_message_text",
                route,
                message,
                **message_at(route, message_id),
                reply_markup=keyboard,
                link_preview_options=NO_PREVIEW,
            )
        except DeliveryError as error:
            if error.code != UNMODIFIED:
                raise _certain(error) from error
        self._remember(route, message_id, message, keyboard)

    async def _readable(self, method: str, route: Route, message: Rendered, **more: Any) -> Any:
        """Calls a method with a text; one that Telegram can't read is sent as it was written, once."""
        where = {**self._where(route), **more} if method != "edit_message_text" else more
        try:
            return await self._call(method, **where, text=message.text, entities=entities_of(message))
        except DeliveryError as error:
            if error.code != UNREADABLE:
                raise
            texts.log.warning("Telegram can't read what was made of a text; it goes out as it was written: %s", error)
            await self._pace.turn(self._place(route))
            return await self._call(method, **where, text=message.source)

    async def _retract(self, post: Post) -> None:
        if post.replaces is not None:
            await self._delete(post.route, post.replaces)

    async def _delete(self, route: Route, message_id: str) -> None:
        try:
            await self._call("delete_message", **message_at(route, message_id), ignore=frozenset((GONE,)))
        except DeliveryError as error:
            raise _certain(error) from error

    # ---- streams ----

    async def stream(self, post: Post) -> Live:
        """See `Channel.stream`: a draft in a private chat, a message that grows in a group."""
        route = post.route
        if _chat(route) > 0:

            async def draft(message: Rendered) -> None:
                more = {"draft_id": post.id, "api_kwargs": {"can_stop": True}}
                await self._readable("send_message_draft", route, message, **more)

            return Draft(draft)
        shown: Rendered | None = None
        message_id = post.replaces
        if message_id is None:
            pieces = markdown.render(post.text)
            wait = self._pace.room(self._place(route)) if pieces else 1.0
            if wait > 0:
                raise DeliveryError("the chat has no room for a message", retry_after=wait)
            shown = pieces[0]
            message_id = await self._send_one(route, shown)

        async def edit(message: Rendered) -> None:
            await self._edit(route, message_id, message)

        return Edits(message_id, edit, lambda: self._pace.room(self._place(route)), shown)

    # ---- presence ----

    async def typing(self, route: Route) -> None:
        """Shows for five seconds that the bot is typing."""
        try:
            await self._call("send_chat_action", **self._where(route), action="typing")
        except DeliveryError as error:
            if error.permanent:
                raise

    async def mark(self, route: Route, message_id: str, mark: Mark) -> None:
        """One reaction on a person's message, in the place of an earlier one."""
        emoji = [REACTIONS[mark]] if mark in REACTIONS else []
        await self._call("set_message_reaction", **message_at(route, message_id), reaction=emoji)

    async def answer(self, query_id: str, route: Route, text: str) -> None:
        """Answers a button that was pressed; what is too long for that is posted on its route."""
        long = units(text) > ANSWER_UNITS
        short = texts.BELOW if long else text
        more = {"text": short or None, "show_alert": units(short) > ALERT_UNITS or None}
        await self._call("answer_callback_query", callback_query_id=query_id, **more, ignore=frozenset((STALE,)))
        if long:
            for piece in content.pieces(text):
                for message in markdown.render(piece):
                    await self._pace.turn(self._place(route))
                    await self._send_one(route, message, quiet=True)

    # ---- topics, files, chats ----

    async def open_thread(self, opening: Opening) -> Route:
        """See `Channel.open_thread`. Whether it was opened before can't be asked: another one says so."""
        chat_id = _chat(opening.route)
        await self._places.check(self._moves.now(chat_id))
        ending = content.OPENED_AGAIN if opening.recovered else ""
        title = capped(markdown.cleaned(opening.title), TITLE_CHARS - len(ending)) + ending
        try:
            topic: ForumTopic = await self._call("create_forum_topic", chat_id=chat_id, name=title)
        except DeliveryError as error:
            if error.uncertain and opening.recovered:
                raise DeliveryError(f"{error}; it may have been opened twice", permanent=True) from error
            raise
        route = Route(opening.route.channel, self._account, opening.route.chat, str(topic.message_thread_id))
        try:
            for message in markdown.render(opening.text):
                await self._send_in_turn(route, message)
        except DeliveryError as error:
            if not error.uncertain:
                await self.close_thread(route)
                raise
        return route

    async def _send_in_turn(self, route: Route, message: Rendered) -> None:
        """Sends a message outside of the outbox; a pause that Telegram asks for is waited out, if it isn't long."""
        while True:
            await self._pace.turn(self._place(route))
            try:
                await self._send_one(route, message)
            except DeliveryError as error:
                if error.retry_after is None or error.retry_after > PATIENCE_SECONDS:
                    raise
            else:
                return

    async def close_thread(self, route: Route) -> None:
        """See `Channel.close_thread`: deletes the topic, or closes it where the bot may not delete."""
        if route.thread is None:
            return
        method = "delete_forum_topic" if self._places.may_delete(self._place(route)) else "close_forum_topic"
        await self._call(method, chat_id=_chat(route), message_thread_id=int(route.thread))

    async def fetch(self, file_id: str, limit: int) -> bytes:
        """See `Api.fetch`."""
        return await self._api.fetch(file_id, limit)

    # ---- calls ----

    async def _call(self, method: str, **arguments: Any) -> Any:
        """One call; a pause that Telegram asks for holds up this chat alone."""
        chat_id = self._moves.now(arguments["chat_id"]) if "chat_id" in arguments else 0
        counted = method in COUNTED
        if counted:
            self._pace.goes(chat_id)
        try:
            return await self._api(method, **arguments)
        except DeliveryError as error:
            if error.retry_after is not None:
                self._pace.hold(chat_id, error.retry_after)
            raise
        finally:
            if counted:
                self._pace.went(chat_id)

    def _remember(
        self, route: Route, message_id: str, message: Rendered, keyboard: InlineKeyboardMarkup | None
    ) -> None:
        self._shown[route.chat, message_id] = (message, keyboard)
        while len(self._shown) > REMEMBERED:
            self._shown.popitem(last=False)

    def _place(self, route: Route) -> int:
        return self._moves.now(_chat(route))

    def _where(self, route: Route) -> dict[str, int | None]:
        return {"chat_id": _chat(route), "message_thread_id": int(route.thread) if route.thread else None}


def _chat(route: Route) -> int:
    return int(route.chat)


def _certain(error: DeliveryError) -> DeliveryError:
    """The same failure of something that can be done again without harm."""
    return DeliveryError(str(error), permanent=error.permanent, retry_after=error.retry_after, code=error.code)
