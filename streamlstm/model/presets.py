"""Presets of a forecaster, and checks of its experts and seasons."""

from typing import Any, NamedTuple

from ..errors import ParameterError
from .seasons import MAX_SEASONS

EXPERTS = ("last", "season", "rls", "lstm")


class Preset(NamedTuple):
    """Values that `preset` gives to the parameters of these names where they are None."""

    replay: int
    weight_decay: float
    loss: str


PRESETS = {"accurate": Preset(16, 0.2, "absolute"), "fast": Preset(0, 0.0, "huber")}


def check_experts(experts: Any) -> None:
    """Raise a ParameterError unless these are kinds of committee members."""
    if not isinstance(experts, tuple) or not experts or not set(experts) <= set(EXPERTS):
        raise ParameterError(
            f"experts must be a list or tuple of some of {', '.join(EXPERTS)}, got {experts!r}"
        )


def check_season(season: Any) -> tuple[int, ...]:
    """Periods in ticks; zeros where `season="auto"` has yet to find one."""
    if season is None:
        return ()
    if isinstance(season, str) and season == "auto":
        return (0,) * MAX_SEASONS
    periods = season if isinstance(season, tuple) else (season,)
    if not periods or not all(type(period) is int and period >= 2 for period in periods):
        raise ParameterError(
            'season must be None, "auto", a whole number of ticks of at least 2, or several '
            f"such numbers, got {season!r}"
        )
    return periods
