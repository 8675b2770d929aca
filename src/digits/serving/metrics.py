"""What a person on call wants to know of the service, for Prometheus, beside BentoML's own."""

import collections
from collections.abc import Sequence
from functools import cache
from typing import Any

CONFIDENCES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0)
SECONDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class Metrics:
    """Counts of one worker; /metrics sums up those of all workers."""

    def __init__(self) -> None:
        # Not when this module is imported: BentoML first says where the workers' counts meet.
        from prometheus_client import Counter, Gauge, Histogram

        self._predictions = Counter(
            "digits_predictions",
            "Answers by digit, and by the reason why they are not accepted, empty where they are",
            ("digit", "reason"),
        )
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
            self._predictions.labels(answer["digit"], answer["reason"] or "").inc()
            self._confidence.observe(answer["confidence"])

    def classified(self, digits: Sequence[int | str]) -> None:
        """Count what was read of frames, which nobody asks to be accepted."""
        for digit, num in collections.Counter(digits).items():
            self._predictions.labels(digit, "").inc(num)


@cache
def metrics() -> Metrics:
    """This process's, made at the first call: Prometheus knows each name once."""
    return Metrics()
