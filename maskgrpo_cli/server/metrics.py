"""What a server counts and measures, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from maskgrpo_cli.server.scoring import Failure, Outcome

SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The numbers of one server.

    Args:
        waiting: gives the samples in line.
        ready: gives the workers that are ready.
    """

    def __init__(self, waiting: Callable[[], int], ready: Callable[[], int]):
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "maskgrpo_requests", "Requests that were answered", ["path", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "maskgrpo_request_seconds", "From a request's headers to its answer", ["path"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.scores = Counter("maskgrpo_scores", "Scores given", ["reward", "outcome"], registry=registry)
        self.batch_items = Histogram("maskgrpo_batch_items", "Samples in a batch", buckets=ITEMS, registry=registry)
        self.batch_seconds = Histogram(
            "maskgrpo_batch_seconds", "Seconds of a batch in its worker", buckets=SECONDS, registry=registry
        )
        self.queue_seconds = Histogram(
            "maskgrpo_queue_seconds", "Seconds that a request's samples waited", buckets=SECONDS, registry=registry
        )
        self.workers_lost = Counter(
            "maskgrpo_workers_lost", "Worker processes that died or took too long", registry=registry
        )
        self.connections_cut = Counter(
            "maskgrpo_connections_cut", "Connections ended for being too slow", ["phase"], registry=registry
        )
        self.held_bytes = Gauge("maskgrpo_held_bytes", "Bytes of requests in memory", registry=registry)
        Gauge("maskgrpo_queue_items", "Samples in line", registry=registry).set_function(waiting)
        Gauge("maskgrpo_workers_ready", "Worker processes that are ready", registry=registry).set_function(ready)

    def count_scores(self, scores: Mapping[str, Sequence[Outcome]]) -> None:
        """Count what became of each sample, by reward."""
        for name, outcomes in scores.items():
            failed = sum(isinstance(outcome, Failure) for outcome in outcomes)
            absent = sum(outcome is None for outcome in outcomes)
            counts = {"scored": len(outcomes) - failed - absent, "not_applicable": absent, "failed": failed}
            for outcome, count in counts.items():
                self.scores.labels(name, outcome).inc(count)

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry)
