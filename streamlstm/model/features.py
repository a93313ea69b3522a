"""Convert values, features and timestamps given by users to floats and arrays."""

import datetime
import decimal
import numbers
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

FloatArray = NDArray[np.float64]

_EPOCH = datetime.datetime(1970, 1, 1)
TIMES = (datetime.date, np.datetime64)  # datetime and pandas.Timestamp are subclasses of date


def as_number(value: Any, what: str) -> float:
    """Convert a number to a float and None to NaN; an InputError for anything else."""
    if value.__class__ is float:
        return value
    if value is None:
        return float("nan")
    if isinstance(value, (numbers.Real, np.bool_, decimal.Decimal)):
        try:
            return float(value)
        except OverflowError as error:
            raise InputError(f"{what} is too large for a float") from error
    raise InputError(f"{what} must be a number, got {value!r}")


def as_column(values: Any, what: str) -> np.ndarray:
    """Convert to (T,) float64 or, for text, to objects with None where missing; or InputError."""
    if hasattr(values, "isna"):  # pandas has several values for missing data
        values = values.astype(object).where(~values.isna(), None)
    column = values if isinstance(values, np.ndarray) else np.array(values, object)
    if column.dtype.kind not in "OUT" or not any(isinstance(v, str) for v in column.flat):
        return as_vector(values, what)
    if column.ndim != 1:
        raise InputError(f"{what} must have one dimension, got shape {column.shape}")
    texts = column.astype(object)
    texts[[isinstance(v, float) and v != v for v in texts]] = None
    others = [v for v in texts if not (v is None or isinstance(v, str))]
    if others:
        raise InputError(f"{what} must be text or numbers, not both: got {others[0]!r}")
    return texts


def time_of(x: Mapping[Hashable, Any] | None) -> int | None:
    """The first date or time among the features, in nanoseconds since 1970 UTC; None if none."""
    for value in x.values() if x else ():
        if isinstance(value, TIMES):
            return _nanoseconds(value)
    return None


def _nanoseconds(time: Any) -> int:
    if time.__class__ is datetime.datetime and time.tzinfo is None:  # the same result, faster
        since = time - _EPOCH
        return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
    if isinstance(time, datetime.datetime) and time.tzinfo is not None:
        time = time.astimezone(datetime.UTC).replace(tzinfo=None)
    return int(np.datetime64(time, "ns").astype(np.int64))


def as_vector(values: Any, what: str) -> np.ndarray:
    """Convert to (T,) float64; an InputError names the argument that cannot be converted."""
    try:
        vector = np.array(values, np.float64)  # a copy: kernels are compiled for writable arrays
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} must be numbers: {error}") from error
    if vector.ndim != 1:
        raise InputError(f"{what} must have one dimension, got shape {vector.shape}")
    return vector


def as_times(timestamps: Any, ticks: int) -> np.ndarray:
    """Convert datetimes, datetime64 or nanoseconds to (T,) int64 nanoseconds since 1970 UTC."""
    times = np.asarray(timestamps)
    if times.dtype.kind == "O" and all(isinstance(time, TIMES) for time in times):
        times = np.array([_nanoseconds(time) for time in times])
    if times.dtype.kind == "M":
        times = times.astype("datetime64[ns]")
    if times.dtype.kind not in "Mi" or times.shape != (ticks,):
        raise InputError(
            f"timestamps must be {ticks} datetimes or whole numbers of nanoseconds, "
            f"got {times.dtype} of shape {times.shape}"
        )
    return times.astype(np.int64)


def as_table(
    features: Any,
    ticks: int,
    column: Callable[[Any, str], np.ndarray] = as_vector,
    what: str = "feature",
) -> dict[Hashable, np.ndarray]:
    """Convert a DataFrame, a mapping, or a (T, F) array with columns 0, 1, ... to arrays by name.

    column: converts a column, `as_column` if text is allowed; what: the word for errors.
    """
    if features is None:
        return {}
    if isinstance(features, Mapping):
        named = dict(features)
    elif hasattr(features, "columns"):
        named = {name: features[name] for name in features.columns}
    else:
        array = np.asarray(features)
        if array.ndim != 2:
            raise InputError(f"{what}s must have two dimensions (T, F), got shape {array.shape}")
        named = {number: array[:, number] for number in range(array.shape[1])}
    table = {name: column(values, f"{what} {name!r}") for name, values in named.items()}
    for name, values in table.items():
        if values.size != ticks:
            raise InputError(f"{what} {name!r} has {values.size} ticks, expected {ticks}")
    return table


def as_rows(xs: Any, ticks: int) -> Sequence[Mapping[Hashable, Any]]:
    """Convert a DataFrame, or a sequence of dicts, to a dict of features for each tick."""
    if hasattr(xs, "columns"):
        table = {name: list(xs[name]) for name in xs.columns}
        rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    else:
        is_list = isinstance(xs, Iterable) and not isinstance(xs, Mapping)
        rows = [*xs] if is_list else [xs]
        strange = [x for x in rows if not is_list or not isinstance(x, Mapping)]
        if strange:
            raise InputError(
                f"xs must be a list with a dict for each step, or a DataFrame, got {strange[0]!r}"
            )
    if len(rows) != ticks:
        raise InputError(f"xs has {len(rows)} entries, expected one for each of {ticks} steps")
    return rows
