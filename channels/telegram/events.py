"""What Telegram sends, turned into what the gateway takes in: messages, edits, buttons, the Stop beside a draft.

Other bots and the assistant itself are dropped first, and so are commands that name another bot. Telegram says nothing
of deleted messages.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from typing import Any, cast

from telegram import CallbackQuery, Chat, ChatMember, ChatMemberUpdated, Message, Update

from channels.telegram import reading, texts
from channels.telegram.moves import Moves
from channels.telegram.places import Places
from channels.telegram.posts import Posts
from channels.telegram.reading import NAME, Me, Sent
from gateway.channel import DeliveryError, Intake
from gateway.routes import Incoming, PlaceKind, Press, RemoteFile, Route
from gateway.tasks import TaskSet

STOPPED = "stopped_message_generation"
KINDS = ("message", "edited_message", "callback_query", "my_chat_member", STOPPED)
"""The updates that are asked for."""
REMEMBERED = 1_000
_OUTSIDE = frozenset((ChatMember.LEFT, ChatMember.BANNED))

Payload = dict[str, Any]


class Events:
    """Takes what comes in for one bot."""

    def __init__(
        self,
        account: str,
        intake: Intake,
        commands: Collection[str],
        posts: Posts,
        places: Places,
        moves: Moves,
        tasks: TaskSet,
    ) -> None:
        self.me = Me(0, "")
        """Known once the bot is connected; nothing is taken before."""
        self._account = account
        self._intake = intake
        self._commands = commands
        self._posts = posts
        self._places = places
        self._moves = moves
        self._tasks = tasks
        self._albums: OrderedDict[str, None] = OrderedDict()
        """Albums whose first message was for the assistant: the mention stands there alone."""
        self._answered: OrderedDict[str, None] = OrderedDict()
        """Presses of buttons that have had their answer."""

    async def take(self, update: Update) -> None:
        """Handles one update; when this returns it is committed."""
        if update.message is not None:
            await self._message(update.message)
        elif update.edited_message is not None:
            await self._edited(update.edited_message)
        elif update.callback_query is not None:
            await self._pressed(update.callback_query)
        elif update.my_chat_member is not None:
            self._standing(update.my_chat_member)
        elif isinstance(stopped := update.api_kwargs.get(STOPPED), dict):
            await self._stopped(cast("Payload", stopped))

    # ---- messages ----

    async def _message(self, message: Message) -> None:
        if message.migrate_to_chat_id is not None:
            await self._moves.add(message.chat.id, message.migrate_to_chat_id)
        elif message.migrate_from_chat_id is not None:
            await self._moves.add(message.migrate_from_chat_id, message.chat.id)
        self._places.seen(message.chat)
        incoming = self._incoming(message)
        if incoming is not None:
            await self._intake.receive(incoming)

    def _incoming(self, message: Message) -> Incoming | None:
        """A message as the gateway takes it; None if it isn't one for anybody here."""
        speaker = reading.speaker_of(message)
        if speaker is None:
            return None
        kind = reading.kind_of(message)
        text = reading.text_of(message, self.me)
        addressed = kind == "group" and self._meant(message)
        name, bot = reading.command_in(text)
        if name == "start" and kind == "direct":
            text = "/help"  # what Telegram's own button says
        elif (bot and bot != self.me.username.lower()) or (name and kind == "group" and not addressed):
            return None
        elif not name and (text or addressed) and (quote := reading.quoted(message, self.me)):
            text = f"{quote}\n\n{text}"
        return Incoming(
            self._route(message),
            kind,
            speaker.id,
            speaker.name,
            text,
            self._moves.name(message.chat.id, message.message_id),
            addressed=addressed,
            files=tuple(self._file(each) for each in reading.files_of(message)),
            topics=True,
        )

    def _meant(self, message: Message) -> bool:
        """Whether a message in a group is for the assistant; all of an album is if its first message was."""
        meant = reading.addressed(message, self.me, self._commands)
        album = message.media_group_id
        if album is None:
            return meant
        if meant:
            _remember(self._albums, album)
        return album in self._albums

    def _route(self, message: Message) -> Route:
        return self._place(message.chat, reading.thread_of(message))

    def _place(self, chat: Chat, thread: str | None) -> Route:
        return Route(NAME, self._account, str(self._moves.known_as(chat.id)), thread)

    def _file(self, sent: Sent) -> RemoteFile:
        async def fetch(limit: int) -> bytes:
            return await self._posts.fetch(sent.file_id, limit)

        return RemoteFile(sent.name, sent.media_type, sent.size, fetch)

    async def _edited(self, message: Message) -> None:
        if reading.speaker_of(message) is None or (message.text is None and message.caption is None):
            return
        text = reading.text_of(message, self.me)
        if quote := reading.quoted(message, self.me):
            text = f"{quote}\n\n{text}"
        number = self._moves.name(message.chat.id, message.message_id)
        await self._intake.changed(self._route(message), number, text)

    def _standing(self, change: ChatMemberUpdated) -> None:
        """The bot was added somewhere, or thrown out, or has got other rights."""
        chat, now = change.chat, change.new_chat_member
        self._places.standing(chat, now)
        before = change.old_chat_member.status
        if chat.type != Chat.PRIVATE and before in _OUTSIDE and now.status not in _OUTSIDE:
            # Its id is hard to find out otherwise.
            texts.log.warning(texts.ADDED, chat.title or "", chat.id)

    # ---- buttons, stop ----

    async def _pressed(self, query: CallbackQuery) -> None:
        message = query.message
        if message is None or query.data is None or query.id in self._answered:
            return
        thread = reading.thread_of(message) if isinstance(message, Message) else None
        route = self._place(message.chat, thread)
        accepted = await self._intake.press(
            Press(
                route,
                _kind(message.chat),
                str(query.from_user.id),
                query.from_user.full_name,
                query.data,
                query.id,
            )
        )
        _remember(self._answered, query.id)
        self._tasks.spawn(self._answer(query.id, route, accepted.reply or ""), "telegram:answer")

    async def _answer(self, query_id: str, route: Route, text: str) -> None:
        """Ends the button's waiting with a short text; a long one is posted beside."""
        try:
            await self._posts.answer(query_id, route, text)
        except DeliveryError as error:
            texts.log.info("what a button did isn't shown: %s", error)

    async def _stopped(self, stopped: Payload) -> None:
        """Somebody has pressed Stop beside a draft: the turn of that conversation ends."""
        chat, thread = cast("Payload", stopped.get("chat") or {}), stopped.get("message_thread_id")
        peer = str(chat.get("id", ""))
        await self._intake.receive(
            Incoming(
                Route(NAME, self._account, peer, str(thread) if thread else None),
                "direct",
                peer,
                str(chat.get("first_name", "")),
                "/stop turn",
                f"stop:{stopped.get('draft_id', '')}",
                addressed=True,
                topics=True,
            )
        )


def _kind(chat: Chat) -> PlaceKind:
    return "direct" if chat.type == Chat.PRIVATE else "group"


def _remember(cache: OrderedDict[str, None], key: str) -> None:
    cache[key] = None
    while len(cache) > REMEMBERED:
        cache.popitem(last=False)
