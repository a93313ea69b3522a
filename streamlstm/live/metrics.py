"""Counters of a live run, and how Prometheus collects them."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import MissingPackageError

if TYPE_CHECKING:
    from prometheus_client import Metric
    from prometheus_client.registry import Collector


def _counter(description: str, start: float = 0) -> Any:
    return field(default=start, metadata={"description": description})


@dataclass
class Metrics:
    """Counts what a run has done since it was created; read them from any thread.

    Times are in seconds.
    """

    ticks: int = _counter("Ticks learned.")
    batches: int = _counter("Batches of ticks learned.")
    rejected: int = _counter("Messages rejected because they are not ticks.")
    late: int = _counter("Ticks skipped because they are duplicates or late.")
    missed: int = _counter("Ticks that the source knows were lost.")
    forecasts: int = _counter("Ticks whose forecasts the sink has taken.")
    snapshots: int = _counter("Snapshots written.")
    acknowledgements: int = _counter("Acknowledgements sent to the source.")
    source_errors: int = _counter("Connections to the source that were lost or failed.")
    sink_errors: int = _counter("Connections to the sink that were lost or failed.")
    disk_errors: int = _counter("Failed writes of snapshots and dead letters.")
    learning_seconds: float = _counter("Time spent forecasting and learning.", 0.0)
    writing_seconds: float = _counter("Time spent writing to the sink, retries included.", 0.0)


class HasMetrics(Protocol):
    """Has `Metrics`, as a `LiveRun` does."""

    metrics: Metrics


def collector(run: HasMetrics | Metrics, /, **labels: str) -> "Collector":
    """Make a collector of a run's counters for `prometheus_client`.

    The counter of a field of `Metrics` is `streamlstm_FIELD_total`, such as
    `streamlstm_ticks_total`.

    Parameters
    ----------
    run
        A `LiveRun`, or its `metrics`.
    labels
        Labels of all the counters, such as `run="plant"`.

    Returns
    -------
    A collector for the `register` method of a `prometheus_client.CollectorRegistry`. A registry
    takes one run: use a registry for each run of a process.

    Raises
    ------
    MissingPackageError
        If prometheus_client is not installed.

    Examples
    --------
    >>> from prometheus_client import CollectorRegistry, generate_latest
    >>> from streamlstm.live.metrics import Metrics, collector
    >>> registry = CollectorRegistry()
    >>> registry.register(collector(Metrics(ticks=3), run="plant"))
    >>> for line in generate_latest(registry).decode().splitlines()[:3]:
    ...     print(line)
    # HELP streamlstm_ticks_total Ticks learned.
    # TYPE streamlstm_ticks_total counter
    streamlstm_ticks_total{run="plant"} 3.0

    """
    try:
        from prometheus_client.core import CounterMetricFamily
        from prometheus_client.registry import Collector
    except ImportError as error:
        raise MissingPackageError(
            "Prometheus needs: pip install 'streamlstm[prometheus]'"
        ) from error

    class RunCollector(Collector):
        def collect(self) -> Iterator["Metric"]:
            metrics = run if isinstance(run, Metrics) else run.metrics
            for each in fields(metrics):
                description = each.metadata["description"]
                family = CounterMetricFamily(
                    f"streamlstm_{each.name}", description, labels=[*labels]
                )
                family.add_metric([*labels.values()], getattr(metrics, each.name))
                yield family

    return RunCollector()
