"""The nouns of the stand-in's world: people, chats, topics, messages, files. Plain records; `World` connects them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
Kind = Literal["private", "group", "supergroup"]
Status = Literal["creator", "administrator", "member", "restricted", "left", "kicked"]

PRESENT = frozenset(("creator", "administrator", "member", "restricted"))
RIGHTS = (
    *("can_manage_chat", "can_delete_messages", "can_manage_video_chats", "can_restrict_members"),
    *("can_promote_members", "can_change_info", "can_invite_users", "can_post_stories", "can_edit_stories"),
    *("can_delete_stories", "can_pin_messages", "can_manage_topics", "can_send_welcome_messages"),
)
GENERAL = 1
"""Id of a forum's General topic; its messages carry no thread."""


@dataclass
class BotAccount:
    """The bot that is tested."""

    id: int
    token: str
    username: str
    name: str
    privacy: bool = True
    """Group privacy: it gets commands, replies and mentions only, unless it is an administrator."""
    topics: bool = False
    """Forum topic mode in private chats."""
    can_join_groups: bool = True

    def user(self) -> Json:
        """As `User`."""
        return {"id": self.id, "is_bot": True, "first_name": self.name, "username": self.username}

    def me(self) -> Json:
        """As getMe returns it."""
        return {
            **self.user(),
            "can_join_groups": self.can_join_groups,
            "can_read_all_group_messages": not self.privacy,
            "supports_inline_queries": False,
            "can_connect_to_business": False,
            "has_main_web_app": False,
            "has_topics_enabled": self.topics,
            "allows_users_to_create_topics": self.topics,
        }


@dataclass
class Account:
    """A person's account."""

    id: int
    name: str
    username: str | None = None
    language: str = "en"
    blocks_bot: bool = False

    def user(self) -> Json:
        """As `User`."""
        user: Json = {"id": self.id, "is_bot": False, "first_name": self.name, "language_code": self.language}
        return {**user, "username": self.username} if self.username else user


@dataclass
class Member:
    """Somebody's standing in a group."""

    status: Status
    rights: frozenset[str] = frozenset()
    """An administrator's rights."""

    @property
    def present(self) -> bool:
        """Whether he is in the chat."""
        return self.status in PRESENT

    def may(self, right: str) -> bool:
        """Whether he has a right of administrators."""
        return self.status == "creator" or (self.status == "administrator" and right in self.rights)

    def to_json(self, user: Json) -> Json:
        """As `ChatMember`."""
        body: Json = {"status": self.status, "user": user}
        if self.status == "creator":
            return {**body, "is_anonymous": False}
        if self.status == "administrator":
            given = {right: right in self.rights for right in RIGHTS}
            return {**body, "can_be_edited": False, "is_anonymous": False, **given}
        if self.status == "restricted":
            return {**body, "is_member": True, "until_date": 0, **dict.fromkeys(RESTRICTIONS, False)}
        return {**body, "until_date": 0} if self.status == "kicked" else body


RESTRICTIONS = (
    *("can_send_messages", "can_send_audios", "can_send_documents", "can_send_photos", "can_send_videos"),
    *("can_send_video_notes", "can_send_voice_notes", "can_send_polls", "can_send_other_messages"),
    *("can_add_web_page_previews", "can_react_to_messages", "can_edit_tag", "can_change_info", "can_invite_users"),
    *("can_pin_messages", "can_manage_topics"),
)


@dataclass
class Topic:
    """A forum topic or a topic of a private chat. Its id is that of the message that created it."""

    id: int
    name: str
    creator: int
    icon_color: int = 7322096
    closed: bool = False


@dataclass
class Message:
    """One message. `content` is what stands in the API's `Message` beside ids, sender and dates."""

    id: int
    chat: int
    sender: int
    date: int
    content: Json
    thread: int | None = None
    """`message_thread_id`."""
    topic: bool = False
    """`is_topic_message`: the thread is a topic, not just the root of a chain of replies."""
    reply_to: int | None = None
    external_reply: Json | None = None
    markup: Json | None = None
    edited: int | None = None
    deleted: bool = False
    history: list[Json] = field(default_factory=list[Json])
    """Earlier contents, oldest first."""
    reactions: dict[int, str] = field(default_factory=dict[int, str])
    """User id → emoji."""
    update: int | None = None
    """Id of the update that told the bot of it; None if it wasn't told."""
    unsure: bool = False
    """The bot never got the answer to its last call about this message: a repetition is no fault of its."""

    @property
    def service(self) -> bool:
        """Whether it tells of an event instead of carrying something that was written."""
        return not {"text", "photo", "document", "voice"} & self.content.keys()

    @property
    def text(self) -> str:
        """Text or caption."""
        return str(self.content.get("text") or self.content.get("caption") or "")

    @property
    def entities(self) -> list[Json]:
        """Entities of the text or of the caption."""
        return self.content.get("entities") or self.content.get("caption_entities") or []


@dataclass
class Chat:
    """A private chat (its id is the person's), a group or a supergroup."""

    id: int
    kind: Kind
    title: str
    forum: bool = False
    username: str | None = None
    members: dict[int, Member] = field(default_factory=dict[int, Member])
    topics: dict[int, Topic] = field(default_factory=dict[int, Topic])
    messages: dict[int, Message] = field(default_factory=dict[int, Message])
    moved_to: int | None = None
    general_closed: bool = False
    general_name: str = "General"

    @property
    def group(self) -> bool:
        """Whether it isn't private."""
        return self.kind != "private"

    def to_json(self) -> Json:
        """As `Chat`."""
        body: Json = {"id": self.id, "type": self.kind}
        body |= {"title": self.title} if self.group else {"first_name": self.title}
        if self.username:
            body["username"] = self.username
        return {**body, "is_forum": True} if self.forum and self.group else body


def root_of(chat: Chat, message: Message) -> int:
    """First message of a chain of replies: plain supergroups give it as `message_thread_id`, which is no topic."""
    while message.reply_to in chat.messages:
        message = chat.messages[message.reply_to]
    return message.id


@dataclass(frozen=True)
class StoredFile:
    """A file on the server."""

    id: str
    unique: str
    path: str
    data: bytes
    name: str
    media_type: str
    size: int
    """What the API says that it is; may exceed the data, to test limits."""
