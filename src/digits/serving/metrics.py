"""What a person on call wants to know of the service, for Prometheus.

BentoML would count requests too, under every path that anybody ever asks for: each would stay in
memory. Its own are off, and these know the routes there are.
"""

import collections
import os
import time
from collections.abc import Sequence
from functools import cache
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATH = "/metrics"
UNJUDGED = "unjudged"
CONFIDENCES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0)
SECONDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class Metrics:
    """Counts of one worker; /metrics sums up those of all workers."""

    def __init__(self) -> None:
        # Not when this module is imported: BentoML first says where the workers' counts meet.
        from prometheus_client import Counter, Gauge, Histogram

        requests = Histogram(
            "digits_request_seconds",
            "From a request's header to its answer's end, by route and status",
            ("route", "status"),
            buckets=SECONDS,
        )
        self.request_s = cache(requests.labels)
        predictions = Counter(
            "digits_predictions",
            "Answers by digit, and by the reason why they are not accepted: empty where they are, "
            f"{UNJUDGED} where nobody asked, as of frames",
            ("digit", "reason"),
        )
        self._predictions = cache(predictions.labels)
        self._confidence = Histogram(
            "digits_confidence", "Confidence of the answers", buckets=CONFIDENCES
        )
        self.normalize_s = Histogram(
            "digits_normalize_seconds", "Decoding and normalising a request", buckets=SECONDS
        )
        self.model_s = Histogram(
            "digits_model_seconds", "The network's part of a request", buckets=SECONDS
        )
        self._model = Gauge(
            "digits_model_info",
            "The model that answers",
            ("name", "version", "run_id"),
            multiprocess_mode="livemax",
        )

    def opened(self, identity: dict[str, Any]) -> None:
        """Say which model answers."""
        self._model.labels(*(identity[key] for key in ("name", "version", "run_id"))).set(1)

    def answered(self, answers: Sequence[dict[str, Any]]) -> None:
        """Count answers with digit, confidence and reason."""
        for answer in answers:
            self._predictions(answer["digit"], answer["reason"] or "").inc()
            self._confidence.observe(answer["confidence"])

    def classified(self, digits: Sequence[int | str]) -> None:
        """Count what was read of frames, which nobody asks to be accepted."""
        for digit, num in collections.Counter(digits).items():
            self._predictions(digit, UNJUDGED).inc(num)


@cache
def metrics() -> Metrics:
    """This process's, made at the first call: Prometheus knows each name once."""
    return Metrics()


def exposition() -> tuple[bytes, str]:
    """What Prometheus reads, of all workers together, and its content type."""
    from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:  # BentoML sets it for its workers
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST


class Timed:
    """ASGI middleware: how long each request took, by its route and the status it got."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == PATH:
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500  # what Starlette answers where an exception passes here

        async def with_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, with_status)
        finally:
            app = scope["app"]
            path = scope["path"]
            route = path if path in app.state.routes else "other"
            app.state.metrics.request_s(route, status).observe(time.perf_counter() - started)
