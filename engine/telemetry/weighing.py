"""Durations that hold for several messages: a histogram that counts each as so many, at the price of one.

OpenTelemetry's API records one value a call, and a call takes as long as several messages. What makes a histogram of a
`Weighed` is an aggregation of the SDK's with more of the same added: for providers that were made with `views`. In
every other one a `Weighed` is a number like any other, and counts once.
"""

import os
from bisect import bisect_left
from typing import Any, Self

from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View

PROCESS = "messaging.process.duration"
EXPONENTIAL = "base2_exponential_bucket_histogram"
KIND = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"
_PARTS = ("_boundaries", "_get_empty_bucket_counts", "_lock", "_max", "_min", "_sum", "_value")


class Weighed(float):
    """Seconds that each of `weight` messages took."""

    __slots__ = ("weight",)
    weight: int

    def __new__(cls, seconds: float, weight: int) -> Self:
        made = super().__new__(cls, seconds)
        made.weight = weight
        return made


def views() -> list[View]:
    """For a meter provider that is to weigh; none where the environment wants histograms of another kind."""
    if os.environ.get(KIND, "").strip().lower() == EXPONENTIAL:
        return []
    return [View(instrument_name=PROCESS, aggregation=_Weighing())]


class _Weighing(ExplicitBucketHistogramAggregation):
    """The SDK's histogram, with weights; without them, should an SDK not have the parts that those need."""

    def _create_aggregation(self, *arguments: Any, **named: Any) -> Any:
        made: Any = super()._create_aggregation(*arguments, **named)
        if all(hasattr(made, part) for part in _PARTS):
            made.aggregate = _weighing(made)
        return made


def _weighing(histogram: Any) -> Any:
    once = histogram.aggregate

    def aggregate(measurement: Any, *more: Any, **named: Any) -> None:
        once(measurement, *more, **named)
        seconds = measurement.value
        again = getattr(seconds, "weight", 1) - 1
        if again <= 0:
            return
        with histogram._lock:
            if histogram._value is None:  # collected in between
                histogram._value = histogram._get_empty_bucket_counts()
                histogram._min = histogram._max = float(seconds)
            histogram._value[bisect_left(histogram._boundaries, seconds)] += again
            histogram._sum += seconds * again

    return aggregate
