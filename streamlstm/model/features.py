"""Features as people hand them over, dicts and tables, in the fixed columns that kernels take."""

import datetime
import decimal
import numbers
import struct
from collections.abc import Callable, Container, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

FloatArray = NDArray[np.float64]

_EPOCH = datetime.datetime(1970, 1, 1)
_TIMES = (datetime.date, np.datetime64)  # a datetime is a date, a pandas Timestamp a datetime


def as_number(value: Any, what: str) -> float:
    """A float, NaN for None; InputError for anything that is not a number."""
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
    """(T,) float64 or, of categories, text with None where it is missing; else an InputError."""
    if hasattr(values, "isna"):  # pandas has several kinds of missing
        values = values.astype(object).where(~values.isna(), None)
    column = values if isinstance(values, np.ndarray) else np.array(values, object)
    if column.dtype.kind not in "OUT" or not any(isinstance(v, str) for v in column.flat):
        return as_vector(values, what)
    if column.ndim != 1:
        raise InputError(f"{what} must have one dimension, got shape {column.shape}")
    texts = column.astype(object)
    texts[[isinstance(v, float) and v != v for v in texts]] = None
    strange = [v for v in texts if not (v is None or isinstance(v, str))]
    if strange:
        raise InputError(f"{what} must be text or numbers, not both: got {strange[0]!r}")
    return texts


def time_of(x: Mapping[Hashable, Any] | None) -> int | None:
    """The first date or time among the features, in nanoseconds since 1970 UTC."""
    for value in x.values() if x else ():
        if isinstance(value, _TIMES):
            return _nanoseconds(value)
    return None


def _nanoseconds(time: Any) -> int:
    if time.__class__ is datetime.datetime and time.tzinfo is None:  # as below, but fast
        since = time - _EPOCH
        return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
    if isinstance(time, datetime.datetime) and time.tzinfo is not None:
        time = time.astimezone(datetime.UTC).replace(tzinfo=None)
    return int(np.datetime64(time, "ns").astype(np.int64))


class Columns:
    """Feature names in the order in which they were first seen, and a row in that order.

    Features that appear together are taken in a fixed order, so that the order of a dict never
    matters. Dates and times are not features. A column holds numbers or categories, text that its
    vocabulary gives a number. A text counts as missing until it has one, which is from the tick
    after it first came: what is predicted for that tick is the same before and after it is learned.
    """

    def __init__(self) -> None:
        self.index: dict[Hashable, int] = {}
        self.vocabularies: dict[Hashable, dict[str, int]] = {}  # of the columns with categories
        self.texts: list[tuple[Hashable, str]] = []  # names and texts, in the order of numbers
        self.plain = True  # whether the names are 0, 1, ... and all columns hold numbers
        self._format = "0d"

    def known_row(self, x: Mapping[Hashable, Any]) -> np.ndarray | None:
        """(F,) features of x in column order if it has a number for every column and no more.

        The usual case, taken without a step of Python for each feature.
        """
        if len(x) != len(self.index) or self.vocabularies:
            return None
        row: Any = np.empty(len(self.index))
        try:
            struct.pack_into(self._format, row, 0, *map(x.__getitem__, self.index))
        except (KeyError, OverflowError, struct.error):
            return None
        return row

    def new_names(self, names: Iterable[Hashable]) -> list[Hashable]:
        """Those of the names that have no column yet, in the order in which to add them."""
        return sorted((name for name in names if name not in self.index), key=_order)

    def add(self, names: Iterable[Hashable], categories: Container[Hashable] = ()) -> None:
        """Append columns."""
        for name in names:
            self.index[name] = len(self.index)
            if name in categories:
                self.vocabularies[name] = {}
        numbered = all(name == column for name, column in self.index.items())
        self.plain = numbered and not self.vocabularies
        self._format = f"{len(self.index)}d"

    def numbers(self, x: Mapping[Hashable, Any]) -> dict[Hashable, float]:
        """The features of a dict as floats; InputError names the one that is not a number."""
        return {
            name: as_number(value, f"feature {name!r}")
            for name, value in x.items()
            if not isinstance(value, _TIMES)
        }

    def values(self, x: Mapping[Hashable, Any]) -> dict[Hashable, float | str]:
        """The features of a dict as floats or text; InputError names the one that is neither."""
        values: dict[Hashable, float | str] = {}
        for name, value in x.items():
            if isinstance(value, str):
                self._check(name, True, value)
                values[name] = value
            elif not isinstance(value, _TIMES):
                values[name] = as_number(value, f"feature {name!r}")
                if values[name] == values[name]:
                    self._check(name, False, value)
        return values

    def check(self, table: Mapping[Hashable, np.ndarray]) -> None:
        """InputError for a column that is text in this table and was not so far, or vice versa."""
        for name, column in table.items():
            if name in self.vocabularies and column.dtype == float:
                column = column[column == column]
            if column.size:
                self._check(name, column.dtype == object, column[0])

    def _check(self, name: Hashable, is_text: bool, value: Any) -> None:
        if name in self.index and is_text != (name in self.vocabularies):
            kind = "a number" if is_text else "text"
            raise InputError(f"feature {name!r} has been {kind} so far, got {value!r}")

    def row(self, x: Mapping[Hashable, float | str]) -> np.ndarray:
        """(F,) known features of x in column order, NaN where absent."""
        row = np.full(len(self.index), np.nan)
        for name, value in x.items():
            column = self.index.get(name)
            if isinstance(value, str):
                value = self.vocabularies.get(name, {}).get(value, np.nan)
            if column is not None:
                row[column] = value
        return row

    def learn_texts(self, name: Hashable, texts: Iterable[str | None]) -> np.ndarray:
        """Give new texts of a column a number; (T,) those that they have when they come."""
        vocabulary, numbers = self.vocabularies[name], []
        for text in texts:
            numbers.append(np.nan if text is None else vocabulary.get(text, np.nan))
            if text is not None and text not in vocabulary:
                vocabulary[text] = len(self.texts)
                self.texts.append((name, text))
        return np.array(numbers)

    def matrix(self, table: Mapping[Hashable, np.ndarray], ticks: int) -> np.ndarray:
        """(T, F) known columns of a table in column order, NaN where absent; texts are learned."""
        matrix = np.full((ticks, len(self.index)), np.nan)
        for name, column in self.index.items():
            if name in table:
                values = table[name]
                is_text = values.dtype == object
                matrix[:, column] = self.learn_texts(name, values) if is_text else values
        return matrix


def _order(name: Hashable) -> tuple[bool, int, str]:
    """Numbers by size, then everything else by how it is written."""
    return (False, name, "") if isinstance(name, int) else (True, 0, repr(name))


def as_vector(values: Any, what: str) -> np.ndarray:
    """(T,) float64, or an InputError that names the argument."""
    try:
        vector = np.array(values, np.float64)  # a copy: kernels are compiled for writable arrays
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} must be numbers: {error}") from error
    if vector.ndim != 1:
        raise InputError(f"{what} must have one dimension, got shape {vector.shape}")
    return vector


def as_times(timestamps: Any, ticks: int) -> np.ndarray:
    """(T,) int64 nanoseconds since 1970 UTC, of such numbers, datetime64 or datetimes."""
    times = np.asarray(timestamps)
    if times.dtype.kind == "O" and all(isinstance(time, _TIMES) for time in times):
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
    """Named columns of a DataFrame, a mapping, or a (T, F) array whose columns are 0, 1, ...

    column: `as_vector`, or `as_column` where text may be among them; what: they are, for errors.
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
    """Features of so many ticks, a dict for each: from such dicts, or from a DataFrame's rows."""
    if hasattr(xs, "columns"):
        table = {name: list(xs[name]) for name in xs.columns}
        rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    else:
        rows = [*xs]
    if len(rows) != ticks:
        raise InputError(f"xs has {len(rows)} entries, expected one for each of {ticks} steps")
    return rows
