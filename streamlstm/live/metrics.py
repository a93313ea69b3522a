"""A run's counters as Prometheus reads them."""

from dataclasses import fields
from typing import Any


def prometheus(metrics: Any, **labels: str) -> str:
    """Counters in Prometheus' text format, version 0.0.4.

    Parameters
    ----------
    metrics
        The `metrics` of a run, a dataclass of numbers that only grow. A field becomes
        `streamlstm_FIELD_total`: `streamlstm_ticks_total`, `streamlstm_learning_seconds_total`.
    labels
        Of all of them, such as `run="plant"`. A page may hold several runs if each has its own;
        then keep only one `# TYPE` line of each name, or have a page for each run.

    Examples
    --------
    >>> from streamlstm.live import Metrics
    >>> from streamlstm.metrics import prometheus
    >>> print(prometheus(Metrics(ticks=3), run="plant").splitlines()[1])
    streamlstm_ticks_total{run="plant"} 3

    """
    escaped = {
        name: value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
        for name, value in labels.items()
    }
    pairs = ",".join(f'{name}="{value}"' for name, value in escaped.items())
    shown = f"{{{pairs}}}" if labels else ""
    lines = []
    for field in fields(metrics):
        name = f"streamlstm_{field.name}_total"
        lines.append(f"# TYPE {name} counter")
        lines.append(f"{name}{shown} {getattr(metrics, field.name)}")
    return "\n".join(lines) + "\n"
