"""The `telemetry` section: where traces are sent, and what they may hold."""

from typing import Annotated

from pydantic import Field, SecretStr

from gateway.config.base import Name, Number, Section


class OtlpConfig(Section):
    """A collector that speaks OTLP over HTTP."""

    endpoint: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = Field(
        default=None, description="Its address, such as `http://127.0.0.1:4318`; unset: nothing is traced."
    )
    headers: dict[str, SecretStr] = Field(
        default={}, description="HTTP headers that it wants; their values count as secrets."
    )
    timeout_seconds: Annotated[Number, Field(gt=0, le=300)] = Field(
        default=10, description="Seconds after which one sending is given up."
    )


class TelemetryConfig(Section):
    """Traces of what the gateway does, for OpenTelemetry."""

    otlp: OtlpConfig = Field(default=OtlpConfig(), description="Where traces are sent (needs `laneway[otlp]`).")
    service_name: Name = Field(default="laneway", description="Under which name they are found there.")
    sample_ratio: Annotated[Number, Field(ge=0, le=1)] = Field(
        default=1, description="Share of the traces that are recorded, from 0 to 1."
    )
    capture_content: bool = Field(
        default=False, description="Record texts of people, models and tools as well; without it there are none."
    )
