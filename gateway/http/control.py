"""The table of pages: which path is answered by what. Scopes stand beside the handlers (`auth.scope`)."""

from __future__ import annotations

from aiohttp import web

from gateway.http import (
    admin,
    configuration,
    details,
    health,
    jobs,
    mcp,
    messages,
    openai,
    platforms,
    runs,
    sessions,
    signins,
    stream,
    timeline,
    usage,
)


def routes() -> list[web.RouteDef]:
    """Every page of the gateway itself; plugins add theirs."""
    return [
        web.get("/healthz", health.healthz),
        web.get("/readyz", health.readyz),
        web.get("/metrics", health.metrics),
        web.get("/v1/models", openai.list_models),
        web.get("/v1/models/{id}", openai.show_model),
        web.post("/v1/chat/completions", openai.chat_completions),
        web.get("/api/status", health.status),
        web.get("/api/health/details", details.show_details),
        web.get("/api/events", stream.stream_events, allow_head=False),
        web.get("/api/sessions", sessions.list_sessions),
        web.get("/api/sessions/{key}", sessions.show_session),
        web.get("/api/sessions/{key}/transcript", sessions.show_transcript),
        web.post("/api/sessions/{key}/messages", messages.send_message),
        web.get("/api/runs", runs.list_runs),
        web.get("/api/runs/{id}", runs.show_run),
        web.get("/api/runs/{id}/log", runs.show_log),
        web.get("/api/runs/{id}/timeline", timeline.show_timeline),
        *jobs.routes(),
        *signins.routes(),
        *mcp.routes(),
        web.get("/api/usage", usage.show_usage),
        web.get("/api/usage/budgets", usage.show_budgets),
        web.get("/api/commands", admin.list_commands),
        web.get("/api/outbox", admin.list_posts),
        web.post("/api/outbox/{id:[0-9]{1,18}}/retry", admin.retry_post),
        web.post("/api/outbox/{id:[0-9]{1,18}}/drop", admin.drop_post),
        web.get("/api/channels", platforms.list_channels),
        web.get("/api/pairing", platforms.list_people),
        web.post("/api/pairing/approve", platforms.approve),
        web.post("/api/pairing/revoke", platforms.revoke),
        web.get("/api/approvals", admin.list_approvals),
        web.post("/api/approvals/{id:[0-9]{1,18}}", admin.decide),
        web.post("/api/reload", admin.reload),
        web.get("/api/config", configuration.show_config),
        web.put("/api/config", configuration.save_config),
        web.get("/api/config/source", configuration.show_source),
        web.post("/api/config/check", configuration.check_config),
        web.post("/api/backup", admin.backup),
    ]
