"""The parts of river that we load by path are the same objects as in the installed river.

Tests run with the newest river, so a release that moves or changes these parts fails here.
"""

import subprocess
import sys

import pytest

ORDERS = {
    "ours first": "import streamlstm.model.river_parts as ours, river.time_series, river.drift",
    "river first": "import river.time_series, river.drift, streamlstm.model.river_parts as ours",
}
CHECK = """
from river.time_series.base import Forecaster
assert ours.Forecaster is Forecaster is river.time_series.base.Forecaster
assert isinstance(ours.new_detector(), river.drift.ADWIN)
assert issubclass(river.time_series.HoltWinters, ours.Forecaster)
"""


@pytest.mark.parametrize("order", ORDERS)
def test_the_loaded_classes_are_those_of_river(order):
    subprocess.run([sys.executable, "-c", f"{ORDERS[order]}\n{CHECK}"], check=True)


def test_a_detector_continues_from_its_state():
    from streamlstm.model.river_parts import detector_state, new_detector, restored_detector

    one = new_detector()
    for n in range(200):
        one.update(float(n % 3))
    other = restored_detector(*detector_state(one))
    for n in range(400):
        one.update(float(n // 100))
        other.update(float(n // 100))
        assert one.drift_detected == other.drift_detected
    assert one.estimation == other.estimation
