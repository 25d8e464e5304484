"""What the gateway measures of itself, in the text format of Prometheus.

Owns its own registry of metrics, so that two gateways in one process don't mix. May be told what happened;
lanes are asked when the page is read. Nothing of it survives the process: counters begin anew, as Prometheus
expects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.agent.messages import Usage

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"
_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SLOW = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)


class LaneNumbers(Protocol):
    """What is read of one lane."""

    @property
    def cap(self) -> int: ...
    @property
    def running(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def oldest_wait_seconds(self) -> float: ...


class Metrics:
    """Counters and histograms with one plain method for each thing that happens."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._lanes = _Lanes()
        registry.register(self._lanes)
        self._runs = Counter("laneway_runs", "Ended runs by outcome.", ["outcome"], registry=registry)
        self._calls = Counter(
            "laneway_model_calls", "Model calls by model and result.", ["model", "result"], registry=registry
        )
        self._call_seconds = Histogram(
            "laneway_model_call_seconds",
            "Duration of model calls.",
            ["model"],
            buckets=_SLOW,
            registry=registry,
        )
        self._tokens = Counter("laneway_tokens", "Tokens by model and kind.", ["model", "kind"], registry=registry)
        self._cost = Counter(
            "laneway_cost_usd", "Cost of model calls with a known price.", ["model"], registry=registry
        )
        self._accept = Histogram(
            "laneway_accept_seconds",
            "From a message's arrival to its commit.",
            buckets=_FAST,
            registry=registry,
        )
        self._start = Histogram(
            "laneway_start_seconds",
            "From queueing a session to its activation.",
            ["lane"],
            buckets=_FAST,
            registry=registry,
        )
        self._announce = Histogram(
            "laneway_announce_seconds",
            "From a sub-agent's end to the consumption of its announcement.",
            buckets=_FAST,
            registry=registry,
        )

    def run_ended(self, outcome: str) -> None:
        """A run has ended."""
        self._runs.labels(outcome).inc()

    def model_call(self, model: str, result: str, seconds: float, usage: Usage | None = None) -> None:
        """A model call is over.

        Args:
            model: `provider/model`.
            result: `ok`, `error`, `retry`, `cancelled`.
            seconds: how long it took.
            usage: its tokens and cost, where it has an answer.
        """
        self._calls.labels(model, result).inc()
        self._call_seconds.labels(model).observe(seconds)
        if usage is None:
            return
        kinds = {
            "input": usage.input,
            "output": usage.output,
            "cacheRead": usage.cache_read,
            "cacheWrite": usage.cache_write,
        }
        for kind, count in kinds.items():
            if count:
                self._tokens.labels(model, kind).inc(count)
        if usage.cost_micro is not None:
            self._cost.labels(model).inc(usage.cost_micro / 1_000_000)

    def accepted(self, seconds: float) -> None:
        """A message was committed `seconds` after it arrived."""
        self._accept.observe(seconds)

    def started(self, lane: str, seconds: float) -> None:
        """A session was activated `seconds` after it was queued."""
        self._start.labels(lane).observe(seconds)

    def announced(self, seconds: float) -> None:
        """An announcement was consumed `seconds` after the sub-agent's end."""
        self._announce.observe(seconds)

    def page(self, lanes: Mapping[str, LaneNumbers]) -> bytes:
        """The text that `/metrics` serves.

        Args:
            lanes: how they are now.
        """
        self._lanes.now = lanes
        return generate_latest(self._registry)


class _Lanes(Collector):
    def __init__(self) -> None:
        self.now: Mapping[str, LaneNumbers] = {}

    def collect(self) -> Iterable[GaugeMetricFamily]:
        running = GaugeMetricFamily("laneway_lane_running", "Sessions and jobs at work.", labels=["lane"])
        waiting = GaugeMetricFamily("laneway_lane_waiting", "Sessions and jobs that queue.", labels=["lane"])
        cap = GaugeMetricFamily("laneway_lane_cap", "How many may work at once.", labels=["lane"])
        oldest = GaugeMetricFamily("laneway_lane_oldest_wait_seconds", "Wait of the oldest.", labels=["lane"])
        for name, lane in self.now.items():
            running.add_metric([name], lane.running)
            waiting.add_metric([name], lane.waiting)
            cap.add_metric([name], lane.cap)
            oldest.add_metric([name], lane.oldest_wait_seconds)
        return [running, waiting, cap, oldest]
