"""How a model is displayed: a line of text, or a table in a notebook."""

import html
import inspect
from collections.abc import Mapping
from typing import Any

from .checks import parameters_of, plain


def changed_parameters(estimator: Any) -> dict[str, Any]:
    """Parameters that differ from their defaults."""
    signature = inspect.signature(type(estimator)).parameters
    return {
        name: value
        for name, value in parameters_of(estimator).items()
        if value != plain(signature[name].default)
    }


def as_text(name: str, parameters: Mapping[str, Any], facts: Mapping[str, str]) -> str:
    """Format a line such as `LSTMForecaster(season=24): ticks 400; seasons 24`."""
    given = ", ".join(f"{key}={value!r}" for key, value in parameters.items())
    state = "; ".join(f"{key} {value}" for key, value in facts.items())
    return f"{name}({given}): {state}"


def as_html(name: str, parameters: Mapping[str, Any], facts: Mapping[str, str]) -> str:
    """Format an HTML table with a row for each parameter and each fact."""
    shown = {key: repr(value) for key, value in parameters.items()} | dict(facts)
    rows = "".join(
        f"<tr><th style='text-align: left'>{html.escape(key)}</th>"
        f"<td style='text-align: left'>{html.escape(value)}</td></tr>"
        for key, value in shown.items()
    )
    return f"<table><caption>{html.escape(name)}</caption><tbody>{rows}</tbody></table>"
