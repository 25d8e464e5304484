"""The `channels` section: the platforms that people write on, and who may speak there (`spec/channels.md` 2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, SecretStr, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from gateway.config.base import AgentId, Name, PlatformId, Section

DmPolicy = Literal["pairing", "allowlist", "open", "disabled"]
GroupPolicy = Literal["allowlist", "open", "disabled"]
Secret = Annotated[SecretStr, Field(min_length=1)]


class GroupSettings(Section):
    """One group or channel in which the assistant answers."""

    require_mention: bool | None = Field(
        default=None, description="Answer only to mentions here; unset: as in the account."
    )
    allow_from: tuple[PlatformId, ...] | None = Field(
        default=None, description="Ids of the people who may speak here; unset: everybody in the group."
    )


class AccountSettings(Section):
    """Who may speak to one account, and how it answers; what an account leaves out comes from the channel."""

    dm_policy: DmPolicy | None = Field(
        default=None,
        description="Direct messages of people who aren't owners: by pairing, by list, of everybody, of nobody.",
    )
    allow_from: tuple[PlatformId, ...] | None = Field(
        default=None, description="Ids of people whose direct messages are answered without pairing."
    )
    group_policy: GroupPolicy | None = Field(
        default=None, description="Groups in which the assistant answers: those of `groups`, all, or none."
    )
    groups: dict[str, GroupSettings] | None = Field(
        default=None, description="The groups and channels, by the platform's chat id."
    )
    require_mention: bool | None = Field(
        default=None,
        description="In groups, answer only to mentions, replies and in threads that it takes part in.",
    )
    live_card: bool | None = Field(
        default=None, description="Show the sub-agents at work as one message that is edited in place."
    )


class SlackAccount(AccountSettings):
    """One Slack app in one workspace."""

    enabled: bool | None = Field(default=None, description="Whether it is connected.")
    mode: Literal["socket", "http"] | None = Field(
        default=None, description="How events come: over a socket that the gateway opens, or to its own address."
    )
    bot_token: Secret | None = Field(default=None, description="`xoxb-…`, from OAuth & Permissions.")
    app_token: Secret | None = Field(
        default=None, description="`xapp-…` with `connections:write`; for the mode `socket`."
    )
    signing_secret: Secret | None = Field(default=None, description="From Basic Information; for the mode `http`.")
    api_url: Name | None = Field(default=None, description="Another server that speaks Slack's Web API.")
    reply_to_mode: Literal["thread", "channel"] | None = Field(
        default=None, description="Answer a mention at top level in its thread, or in the channel itself."
    )


class SlackConfig(SlackAccount):
    """Slack."""

    accounts: dict[str, SlackAccount] = Field(
        default={}, description="More workspaces, by a name of your choice; what one leaves out comes from above."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name, account in _connected(self, SlackAccount).items():
            _need(name, account if name == "default" else self.accounts[name], "bot_token")
            _need(name, account, "signing_secret" if account.mode == "http" else "app_token")
        return self


class TelegramAccount(AccountSettings):
    """One Telegram bot."""

    enabled: bool | None = Field(default=None, description="Whether it is connected.")
    mode: Literal["polling", "webhook"] | None = Field(
        default=None, description="How updates come: the gateway asks for them, or Telegram calls its address."
    )
    bot_token: Secret | None = Field(default=None, description="From @BotFather.")
    webhook_url: Name | None = Field(
        default=None,
        description="Public HTTPS address of the gateway; the path `/channels/telegram/<account>` is added.",
    )
    webhook_secret: Secret | None = Field(
        default=None, description="Text that Telegram sends along with each call; 1 to 256 of A-Z a-z 0-9 _ -."
    )
    api_root: Name | None = Field(default=None, description="Another server that speaks the Bot API.")


class TelegramConfig(TelegramAccount):
    """Telegram."""

    accounts: dict[str, TelegramAccount] = Field(
        default={}, description="More bots, by a name of your choice; what one leaves out comes from above."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name, account in _connected(self, TelegramAccount).items():
            _need(name, account if name == "default" else self.accounts[name], "bot_token")
            if account.mode == "webhook":
                _need(name, account, "webhook_url")
                _need(name, account, "webhook_secret")
        return self


class ChannelsConfig(Section):
    """The platforms that people write on."""

    slack: SlackConfig | None = Field(default=None, description="Slack; unset: not connected.")
    telegram: TelegramConfig | None = Field(default=None, description="Telegram; unset: not connected.")

    def slack_accounts(self) -> dict[str, SlackAccount]:
        """The Slack accounts that are to be connected, by name, with everything filled in."""
        return _connected(self.slack, SlackAccount) if self.slack else {}

    def telegram_accounts(self) -> dict[str, TelegramAccount]:
        """The Telegram accounts that are to be connected, by name, with everything filled in."""
        return _connected(self.telegram, TelegramAccount) if self.telegram else {}

    def policy(self, channel: str, account: str) -> Policy:
        """Who may speak to an account; for one that isn't configured here the cautious defaults hold."""
        accounts = {"slack": self.slack_accounts, "telegram": self.telegram_accounts}.get(channel)
        return Policy.of((accounts() if accounts else {}).get(account, AccountSettings()))


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may speak to an account."""

    dm: DmPolicy
    allow_from: frozenset[str]
    """Ids as the platform gives them."""
    group: GroupPolicy
    groups: Mapping[str, GroupSettings]
    require_mention: bool
    live_card: bool

    @classmethod
    def of(cls, account: AccountSettings) -> Policy:
        """What an account's settings come to; the defaults let nobody in whom an owner hasn't."""
        return cls(
            account.dm_policy or "pairing",
            frozenset(account.allow_from or ()),
            account.group_policy or "allowlist",
            account.groups or {},
            account.require_mention is not False,
            account.live_card is not False,
        )

    def settings_of(self, names: Iterable[str]) -> GroupSettings | None:
        """What is said of a group; None: nothing.

        Args:
            names: its ids; the first that is listed counts.
        """
        return next((self.groups[name] for name in names if name in self.groups), None)

    def mention_needed(self, names: Iterable[str]) -> bool:
        """Whether a message in this group must be addressed to the assistant; the argument is that of `settings_of`."""
        settings = self.settings_of(names)
        own = settings.require_mention if settings else None
        return self.require_mention if own is None else own


A = TypeVar("A", bound="SlackAccount | TelegramAccount")


def _connected(channel: SlackConfig | TelegramConfig, kind: type[A]) -> dict[str, A]:
    named: Mapping[str, SlackAccount | TelegramAccount] = {
        **({"default": kind()} if channel.bot_token else {}),
        **channel.accounts,
    }
    filled = {name: _filled(channel, account, kind) for name, account in named.items()}
    return {name: account for name, account in filled.items() if account.enabled is not False}


def _filled(channel: SlackConfig | TelegramConfig, account: SlackAccount | TelegramAccount, kind: type[A]) -> A:
    names = kind.model_fields
    own = {name: value for name in names if (value := getattr(account, name)) is not None}
    return kind.model_construct(**{name: own.get(name, getattr(channel, name)) for name in names})


class BindingMatch(Section):
    """Which messages a binding is for; what is left out matches all."""

    channel: Name = Field(description="`slack`, `telegram` or another channel's name.")
    account: Name | None = Field(default=None, description="One account of the channel.")
    chat: PlatformId | None = Field(default=None, description="A chat's, group's or channel's id.")
    peer: PlatformId | None = Field(default=None, description="A person's id.")


class Binding(Section):
    """Chooses the agent that answers."""

    agent_id: AgentId = Field(description="The agent.")
    match: BindingMatch = Field(description="Where it answers.")


def _need(name: str, account: SlackAccount | TelegramAccount, field: str) -> None:
    """Refuses an account that lacks what its mode needs."""
    if getattr(account, field) is None:
        raise PydanticCustomError(
            "incomplete",
            "needs a {key} for the account “{account}”, or enabled: false",
            {"key": to_camel(field), "account": name},
        )
