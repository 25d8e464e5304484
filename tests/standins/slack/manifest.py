"""Whether Slack would make a new app from a manifest: its shape, and the rules between its parts.

The shape and its limits are those of github.com/slackapi/manifest-schema and docs.slack.dev/reference/app-manifest;
the rules between parts are refusals that apps.manifest.validate is known to give. Only what this product could need is
known here: functions, workflows and datastores are refused as unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from jsonschema import Draft7Validator

from tests.standins.slack.model import Json

EVENT_SCOPES: dict[str, tuple[str, ...]] = {
    "agent_session_stopped": ("chat:write",),
    "app_context_changed": (),
    "app_home_opened": (),
    "app_mention": ("app_mentions:read",),
    "app_uninstalled": (),
    "assistant_thread_context_changed": ("assistant:write",),
    "assistant_thread_started": ("assistant:write",),
    "channel_archive": ("channels:read",),
    "channel_deleted": ("channels:read",),
    "channel_rename": ("channels:read",),
    "channel_unarchive": ("channels:read",),
    "file_shared": ("files:read",),
    "member_joined_channel": ("channels:read", "groups:read"),
    "member_left_channel": ("channels:read", "groups:read"),
    "message.channels": ("channels:history",),
    "message.groups": ("groups:history",),
    "message.im": ("im:history",),
    "message.mpim": ("mpim:history",),
    "reaction_added": ("reactions:read",),
    "reaction_removed": ("reactions:read",),
    "team_join": ("users:read",),
    "tokens_revoked": (),
    "user_change": ("users:read",),
}
"""Bot events and the scopes of which one is needed."""
BOT_SCOPES = frozenset(
    f"{kind}:{right}" for kind in ("channels", "groups", "im", "mpim") for right in ("history", "read", "write")
) - {"channels:write"} | {
    "app_mentions:read", "assistant:write", "channels:join", "channels:manage", "channels:write.invites",
    "channels:write.topic", "chat:write", "chat:write.customize", "chat:write.public", "commands", "emoji:read",
    "files:read", "files:write", "groups:write.invites", "groups:write.topic", "incoming-webhook", "links:read",
    "links:write", "metadata.message:read", "pins:read", "pins:write", "reactions:read", "reactions:write",
    "remote_files:read", "team:read", "usergroups:read", "users.profile:read", "users:read", "users:read.email",
    "users:write",
}  # fmt: skip


def _object(required: tuple[str, ...] = (), **properties: Json) -> Json:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": properties,
    }


def _text(most: int, least: int = 1, **more: Any) -> Json:
    return {"type": "string", "minLength": least, "maxLength": most, **more}


def _list(items: Json, most: int, least: int = 0) -> Json:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most, "uniqueItems": True}


_FLAG: Json = {"type": "boolean"}
_URL = _text(3000, pattern="^https?://")
_COMMAND = _object(
    ("command", "description"),
    command=_text(32, 2, pattern=r"^/[^\s]+$"),
    description=_text(2000),
    usage_hint=_text(1000),
    should_escape=_FLAG,
    url=_URL,
)
_SHORTCUT = _object(
    ("name", "type", "callback_id", "description"),
    name=_text(24),
    type={"enum": ["message", "global"]},
    callback_id=_text(255),
    description=_text(150),
)
_PROMPT = _object(("title", "message"), title=_text(255), message=_text(1000))
_SCOPES = _list(_text(50), 255)
_SCHEMA = _object(
    ("display_information",),
    _metadata=_object(major_version={"enum": [1, 2]}, minor_version={"type": "integer"}),
    display_information=_object(
        ("name",),
        name=_text(35),
        description=_text(140),
        long_description=_text(4000, 175),
        background_color=_text(7, 4, pattern="^#([0-9a-fA-F]{3}){1,2}$"),
    ),
    features=_object(
        app_home=_object(home_tab_enabled=_FLAG, messages_tab_enabled=_FLAG, messages_tab_read_only_enabled=_FLAG),
        bot_user=_object(("display_name",), display_name=_text(80), always_online=_FLAG),
        shortcuts=_list(_SHORTCUT, 10, 1),
        slash_commands=_list(_COMMAND, 50, 1),
        agent_view=_object(
            ("agent_description",),
            agent_description=_text(300),
            suggested_prompts=_list(_PROMPT, 4),
            actions={"type": "array"},
        ),
        assistant_view=_object(
            ("assistant_description",), assistant_description=_text(300), suggested_prompts=_list(_PROMPT, 4)
        ),
    ),
    oauth_config=_object(
        redirect_urls=_list(_text(2500), 1000),
        scopes=_object(bot=_SCOPES, user=_SCOPES, bot_optional=_SCOPES, user_optional=_SCOPES),
        token_management_enabled=_FLAG,
        pkce_enabled=_FLAG,
    ),
    settings=_object(
        event_subscriptions=_object(request_url=_URL, bot_events=_list(_text(50), 100), user_events=_SCOPES),
        interactivity=_object(("is_enabled",), is_enabled=_FLAG, request_url=_URL, message_menu_options_url=_URL),
        org_deploy_enabled=_FLAG,
        socket_mode_enabled=_FLAG,
        token_rotation_enabled=_FLAG,
        is_hosted=_FLAG,
    ),
)
_VALIDATOR = Draft7Validator(_SCHEMA)


def manifest_faults(manifest: Json) -> list[tuple[str, str]]:
    """What is wrong with a manifest: JSON pointers and messages. Rules between parts come once its shape is right.

    Args:
        manifest: of an app that is to be made.
    """
    errors = cast("Iterator[Any]", _VALIDATOR.iter_errors(manifest))  # pyright: ignore[reportUnknownMemberType]
    shape = [("/" + "/".join(map(str, error.absolute_path)), str(error.message)) for error in errors]
    return shape or [*_connections(manifest), *_rights(manifest), *_agent(manifest)]


def _part(manifest: Json, *names: str) -> Any:
    value: Any = manifest
    for name in names:
        value = cast("Json", value).get(name, {})
    return value


def _texts(manifest: Json, *names: str) -> set[str]:
    return set(cast("list[str]", _part(manifest, *names) or []))


def _connections(manifest: Json) -> Iterator[tuple[str, str]]:
    """Where events, presses and commands are to go."""
    if _part(manifest, "settings", "socket_mode_enabled") is True:
        return
    events = _part(manifest, "settings", "event_subscriptions")
    if (events.get("bot_events") or events.get("user_events")) and "request_url" not in events:
        where = "/settings/event_subscriptions"
        yield where, "Event Subscription requires either Request URL or Socket Mode Enabled"
    interactivity = _part(manifest, "settings", "interactivity")
    if interactivity.get("is_enabled") and "request_url" not in interactivity:
        yield "/settings/interactivity", "Interactivity requires a Request URL"
    for index, command in enumerate(_part(manifest, "features", "slash_commands") or ()):
        if "url" not in command:
            yield f"/features/slash_commands/{index}", "Slash Command requires a URL or Socket Mode Enabled"


def _rights(manifest: Json) -> Iterator[tuple[str, str]]:
    """What the app may do must fit to what it wants to do."""
    scopes = _texts(manifest, "oauth_config", "scopes", "bot")
    for scope in sorted(scopes - BOT_SCOPES):
        yield "/oauth_config/scopes/bot", f"unknown scope: {scope}"
    if stray := _texts(manifest, "oauth_config", "scopes", "bot_optional") - scopes:
        yield "/oauth_config/scopes/bot_optional", f"not in `bot`: {', '.join(sorted(stray))}"
    if scopes and not _part(manifest, "features", "bot_user"):
        yield "/features/bot_user", "Bot scopes require a bot user"
    if _part(manifest, "features", "slash_commands") and "commands" not in scopes:
        yield "/features/slash_commands", "Slash Commands requires `commands` bot scope"
    for event in _part(manifest, "settings", "event_subscriptions", "bot_events") or ():
        if event not in EVENT_SCOPES:
            yield "/settings/event_subscriptions/bot_events", f"unknown event: {event}"
        elif EVENT_SCOPES[event] and scopes.isdisjoint(EVENT_SCOPES[event]):
            needed = " or ".join(f"`{scope}`" for scope in EVENT_SCOPES[event])
            yield "/settings/event_subscriptions/bot_events", f"`{event}` requires {needed} bot scope"


def _agent(manifest: Json) -> Iterator[tuple[str, str]]:
    """New apps are agents in the messages tab; the assistant's pane is for those that have it already."""
    features = _part(manifest, "features")
    scopes = _part(manifest, "oauth_config", "scopes", "bot") or ()
    events = _part(manifest, "settings", "event_subscriptions", "bot_events") or ()
    if "assistant_view" in features:
        yield "/features/assistant_view", "New apps use `agent_view`"
    if ("agent_view" in features) is not ("assistant:write" in scopes):
        yield "/features/agent_view", "`agent_view` and the bot scope `assistant:write` go together"
    for event in ("assistant_thread_started", "assistant_thread_context_changed"):
        if "agent_view" in features and event in events:
            yield "/settings/event_subscriptions/bot_events", f"Agent View should not use `{event}`"
    if "agent_view" in features and not _part(manifest, "features", "app_home").get("messages_tab_enabled"):
        yield "/features/app_home", "Agent View requires the Messages Tab"
