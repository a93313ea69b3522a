"""The counters of a run, as Prometheus collects them."""

import builtins
from dataclasses import asdict

import pytest
from live_counter import Counter
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from streamlstm.errors import MissingPackageError
from streamlstm.live.iterable import IterableSource
from streamlstm.live.metrics import Metrics, collector
from streamlstm.live.payload import Fields
from streamlstm.live.run import LiveRun


def families(run, /, **labels):
    """What Prometheus reads from a page with one run."""
    registry = CollectorRegistry(auto_describe=True)
    registry.register(collector(run, **labels))
    return [*text_string_to_metric_families(generate_latest(registry).decode())]


def samples(run, /, **labels):
    return {sample.name: sample for family in families(run, **labels) for sample in family.samples}


def test_each_counter_has_its_name_its_help_and_the_labels():
    metrics = Metrics(ticks=3, learning_seconds=0.25)
    labels = {"run": 'a "run"\\\n', "key": "b"}
    for family in families(metrics, **labels):
        assert family.type == "counter"
        assert family.documentation.endswith(".")
    found = samples(metrics, **labels)
    assert set(found) == {f"streamlstm_{name}_total" for name in asdict(metrics)}
    assert all(sample.labels == labels for sample in found.values())
    assert found["streamlstm_ticks_total"].value == 3
    assert found["streamlstm_learning_seconds_total"].value == 0.25
    assert samples(metrics)["streamlstm_ticks_total"].labels == {}


def test_a_run_is_read_when_it_is_collected():
    run = LiveRun(Counter(), IterableSource([("a", n) for n in range(5)], Fields(key="key")))
    registry = CollectorRegistry()
    registry.register(collector(run))
    assert registry.get_sample_value("streamlstm_ticks_total") == 0
    run.run()
    assert registry.get_sample_value("streamlstm_ticks_total") == 5


def test_without_the_client_the_error_says_what_to_install(monkeypatch):
    def without(name, *rest, **named):
        if name.startswith("prometheus_client"):
            raise ImportError(name)
        return whole(name, *rest, **named)

    whole = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingPackageError, match=r"pip install 'streamlstm\[prometheus\]'"):
        collector(Metrics())
