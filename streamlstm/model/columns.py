"""The columns of a model's features: names and texts that appear over time, in a fixed order."""

import struct
from collections.abc import Container, Hashable, Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import InputError
from .features import TIMES, as_number


class Columns:
    """Feature names in the order in which they were first seen; makes rows in that order.

    Features that appear at the same tick are sorted, so the order of a dict never matters. Dates
    and times are not features. A column holds numbers, or texts, which its vocabulary numbers. A
    new text counts as missing at its first tick and has a number from the next tick on, so that
    learning a tick does not change what is predicted for it.
    """

    def __init__(self) -> None:
        self.index: dict[Hashable, int] = {}
        self.vocabularies: dict[Hashable, dict[str, int]] = {}  # by column that holds text
        self.texts: list[tuple[Hashable, str]] = []  # (column, text) in the order of their numbers
        self.plain = True  # whether the names are 0, 1, ... and all columns hold numbers
        self._format = "0d"

    def known_row(self, x: Mapping[Hashable, Any]) -> np.ndarray | None:
        """(F,) features of x in column order; None unless x has exactly a number for each column.

        This is the fast path for the usual case: no Python loop over the features.
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
        """Names that have no column yet, in the order in which to add them."""
        return sorted((name for name in names if name not in self.index), key=_sort_key)

    def add(self, names: Iterable[Hashable], categories: Container[Hashable] = ()) -> None:
        """Add columns; categories: names of the columns that hold text."""
        for name in names:
            self.index[name] = len(self.index)
            if name in categories:
                self.vocabularies[name] = {}
        numbered = all(name == column for name, column in self.index.items())
        self.plain = numbered and not self.vocabularies
        self._format = f"{len(self.index)}d"

    def numbers(self, x: Mapping[Hashable, Any]) -> dict[Hashable, float]:
        """Convert the features of a dict to floats; an InputError names one that is no number."""
        return {
            name: as_number(value, f"feature {name!r}")
            for name, value in x.items()
            if not isinstance(value, TIMES)
        }

    def values(self, x: Mapping[Hashable, Any]) -> dict[Hashable, float | str]:
        """Convert the features of a dict to floats or text.

        An InputError names one that is neither, or that has changed from one to the other.
        """
        values: dict[Hashable, float | str] = {}
        for name, value in x.items():
            if isinstance(value, str):
                self._check(name, True, value)
                values[name] = value
            elif not isinstance(value, TIMES):
                values[name] = as_number(value, f"feature {name!r}")
                if values[name] == values[name]:
                    self._check(name, False, value)
        return values

    def check(self, table: Mapping[Hashable, np.ndarray]) -> None:
        """Raise an InputError if a column has changed between text and numbers."""
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
        """(F,) features of x in column order, NaN where absent; unknown names are ignored."""
        row = np.full(len(self.index), np.nan)
        for name, value in x.items():
            column = self.index.get(name)
            if isinstance(value, str):
                value = self.vocabularies.get(name, {}).get(value, np.nan)
            if column is not None:
                row[column] = value
        return row

    def learn_texts(self, name: Hashable, texts: Iterable[str | None]) -> np.ndarray:
        """Number the new texts of a column; return (T,) numbers, NaN where a text is new."""
        vocabulary, numbers = self.vocabularies[name], []
        for text in texts:
            numbers.append(np.nan if text is None else vocabulary.get(text, np.nan))
            if text is not None and text not in vocabulary:
                vocabulary[text] = len(self.texts)
                self.texts.append((name, text))
        return np.array(numbers)

    def matrix(self, table: Mapping[Hashable, np.ndarray], ticks: int) -> np.ndarray:
        """(T, F) columns of a table in column order, NaN where absent; new texts get numbers."""
        matrix = np.full((ticks, len(self.index)), np.nan)
        for name, column in self.index.items():
            if name in table:
                values = table[name]
                is_text = values.dtype == object
                matrix[:, column] = self.learn_texts(name, values) if is_text else values
        return matrix


def _sort_key(name: Hashable) -> tuple[bool, int, str]:
    """Sort whole numbers by size, then all other names by their repr."""
    return (False, name, "") if isinstance(name, int) else (True, 0, repr(name))
