"""The names of spans and attributes: those of OpenTelemetry's conventions for generative AI where there are any.

https://opentelemetry.io/docs/specs/semconv/gen-ai/ is still in development; when it changes a name, this is the place.
What it has no name for begins with `laneway.`.
"""

from __future__ import annotations

from collections.abc import Mapping

# operations
OPERATION = "gen_ai.operation.name"
CHAT = "chat"
EXECUTE_TOOL = "execute_tool"
INVOKE_AGENT = "invoke_agent"

# who and where
AGENT_ID = "gen_ai.agent.id"
AGENT_NAME = "gen_ai.agent.name"
CONVERSATION_ID = "gen_ai.conversation.id"

# model calls
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
REQUEST_STREAM = "gen_ai.request.stream"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"

# tools
TOOL_NAME = "gen_ai.tool.name"
TOOL_CALL_ID = "gen_ai.tool.call.id"
TOOL_TYPE = "gen_ai.tool.type"

# text of people, models and tools: only with `telemetry.captureContent`
SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
TOOL_ARGUMENTS = "gen_ai.tool.call.arguments"
TOOL_RESULT = "gen_ai.tool.call.result"

# of every kind
ERROR_TYPE = "error.type"

# Laneway's own
RUN_ID = "laneway.run.id"
RUN_NUMBER = "laneway.run.number"
RUN_KIND = "laneway.run.kind"
RUN_DEPTH = "laneway.run.depth"
RUN_OUTCOME = "laneway.run.outcome"
JOB_ATTEMPT = "laneway.job.attempt"
CHANNEL = "laneway.channel"
COST = "laneway.cost_usd"
WAITED = "laneway.waited_seconds"
POST_ID = "laneway.post.id"
POST_KIND = "laneway.post.kind"
POST_ATTEMPT = "laneway.post.attempt"
CONTINUED = "laneway.turn.continued"

SPAWN = "spawn"
ANNOUNCE = "announce"

_PROVIDERS: Mapping[str, str] = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex_ai": "gcp.vertex_ai",
    "xai": "x_ai",
}


def provider(name: str) -> str:
    """The conventions' name of a configured provider; its own where they have none."""
    return _PROVIDERS.get(name, name)


def turn(agent: str) -> str:
    """A turn's span."""
    return f"{INVOKE_AGENT} {agent}"


def call(model: str) -> str:
    """A model call's span."""
    return f"{CHAT} {model}"


def tool(name: str) -> str:
    """A tool call's span."""
    return f"{EXECUTE_TOOL} {name}"


def job(kind: str) -> str:
    """The span of one attempt of a job that a handler runs."""
    return f"run_job {kind}"


def delivery(channel: str) -> str:
    """The span of one try to deliver a post."""
    return f"deliver {channel}"
