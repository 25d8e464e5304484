"""auth.test, apps.*, team.info, bots.info: who the app is and how it connects."""

from __future__ import annotations

from tests.standins.slack.errors import Refusal
from tests.standins.slack.manifest import manifest_faults
from tests.standins.slack.methods.registry import Token, method
from tests.standins.slack.model import Json
from tests.standins.slack.scopes import Tier
from tests.standins.slack.workspace import Workspace


@method("auth.test", tier=Tier.SPECIAL)
def auth_test(ws: Workspace, args: Json) -> Json:
    """Whose token it is. Its scopes stand in the header `x-oauth-scopes`."""
    return {
        "url": f"{ws.base_url}/",
        "team": ws.options.team,
        "user": ws.users[ws.app.user_id].name,
        "team_id": ws.team_id,
        "user_id": ws.app.user_id,
        "bot_id": ws.app.bot_id,
        "is_enterprise_install": False,
    }


@method("api.test", tier=Tier.FOUR, token=Token.NONE)
def api_test(ws: Workspace, args: Json) -> Json:
    """Says yes, or the error it is given."""
    if "error" in args:
        raise Refusal(args["error"], fault=False)
    return {"args": args}


@method("apps.connections.open", tier=Tier.ONE, token=Token.APP)
def connections_open(ws: Workspace, args: Json) -> Json:
    """Where the next socket can be opened, once."""
    if ws.link is None:
        raise Refusal("internal_error", "the workspace isn't listening", fault=False)
    return {"url": ws.link()}


@method("apps.manifest.validate", token=Token.CONFIG)
def manifest_validate(ws: Workspace, args: Json) -> Json:
    """Whether a new app could be made from a manifest.

    Raises:
        Refusal: invalid_manifest, with `errors` as docs.slack.dev/reference/methods/apps.manifest.validate shows them.
    """
    if faults := manifest_faults(args["manifest"]):
        errors = [{"message": message, "pointer": pointer} for pointer, message in faults]
        raise Refusal("invalid_manifest", *(f"{p}: {m}" for p, m in faults), fault=False, errors=errors)
    return {"errors": []}


@method("team.info", scopes=("team:read",))
def team_info(ws: Workspace, args: Json) -> Json:
    """The workspace."""
    return {"team": {"id": ws.team_id, "name": ws.options.team, "domain": ws.options.team, "email_domain": ""}}


@method("bots.info", scopes=("users:read",))
def bots_info(ws: Workspace, args: Json) -> Json:
    """The bot."""
    if args.get("bot", ws.app.bot_id) != ws.app.bot_id:
        raise Refusal("bot_not_found", args["bot"])
    bot = {"id": ws.app.bot_id, "app_id": ws.app.id, "user_id": ws.app.user_id, "name": ws.app.name}
    return {"bot": bot | {"deleted": False, "updated": 1_700_000_000}}
