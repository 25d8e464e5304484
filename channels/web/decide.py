"""What an operator decides in the page: questions, posts that didn't arrive, sign-ins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from aiohttp import web

from channels.web.site import Action, View
from gateway.approvals import ApprovalError
from gateway.http.errors import ApiError
from gateway.http.json import Body, answer, read_body
from gateway.http.signins import end
from gateway.store import outbox, signins
from gateway.store.database import Transaction
from gateway.views import capped


class DecisionBody(Body):
    """An answer to a question."""

    decision: Literal["allow", "always", "deny"]


class Nothing(Body):
    """A body without fields."""


async def approve(view: View) -> web.StreamResponse:
    """`POST /web/approvals/{id}`: only an operator is an owner."""
    body = await read_body(view.request, DecisionBody)
    if not view.eyes.operator:
        raise ApiError(404, "there is no such question")
    try:
        approval = await view.gateway.approvals.decide(
            int(view.need("id")),
            allowed=body.decision != "deny",
            always=body.decision == "always",
            by=view.eyes.sender.id,
        )
    except ApprovalError as error:
        raise ApiError(409, str(error)) from None
    return answer({"text": f"{approval.state.value.capitalize()}: {capped(approval.summary, 80)}"})


def _post(name: str, act: Callable[[View, int], Awaitable[outbox.Post]]) -> Action:
    async def handler(view: View) -> web.StreamResponse:
        await read_body(view.request, Nothing)
        if not view.eyes.operator:
            raise ApiError(404, "there is no such post")
        try:
            post = await act(view, int(view.need("id")))
        except LookupError as error:
            raise ApiError(404, str(error)) from None
        return answer({"text": "It is tried again." if name == "retry" else f"Post {post.id} is given up."})

    return Action(f"/web/outbox/{{id:[0-9]{{1,18}}}}/{name}", handler)


async def revoke(view: View) -> web.StreamResponse:
    """`POST /web/signins/{id}/revoke`: an operator anybody's, everybody his own name's."""
    await read_body(view.request, Nothing)
    wanted, who = view.need("id"), view.eyes.who

    def his(tx: Transaction) -> bool:
        return any(each.id == wanted for each in signins.listed(tx, None if who.operator else who.name))

    if not await view.read(his):
        raise ApiError(404, "there is no such sign-in")
    ended = await end(view.request, wanted)
    return answer({"text": f"{ended.name} is signed out there.", "own": ended.id == who.signin})


ACTIONS = (
    Action("/web/approvals/{id:[0-9]{1,18}}", approve),
    _post("retry", lambda view, post_id: view.gateway.deliverer.retry(post_id)),
    _post("drop", lambda view, post_id: view.gateway.deliverer.drop(post_id)),
    Action("/web/signins/{id}/revoke", revoke),
)
