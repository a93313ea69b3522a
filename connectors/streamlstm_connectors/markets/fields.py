"""Fields of market data under the same names for every venue."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from streamlstm.errors import ParameterError
from streamlstm.live import Address, Fields


def check_fields(
    address: Address,
    fields: Fields,
    symbols: Sequence[str],
    channel: str,
    channels: Mapping[str, Collection[str]],
) -> None:
    """Raise a ParameterError if a source cannot have these symbols, channel or fields.

    channels: by name, the fields that each of them has.
    """
    if not any(symbols):
        raise ParameterError(f"{address} names no symbol: add /SYMBOL,SYMBOL")
    if channel not in channels:
        known = ", ".join(channels)
        raise ParameterError(f"{address} has the unknown channel {channel!r}; known are {known}")
    has = ["symbol", *channels[channel]]
    for name in (fields.value, fields.key, fields.time, *fields.features, fields.sequence):
        if name is not None and name not in has:
            raise ParameterError(
                f"{address}: the channel {channel} has no field {name!r}; it has {', '.join(has)}"
            )
    if "symbol" in (fields.value, fields.time, *fields.features, fields.sequence):
        raise ParameterError(f"{address}: symbol is text and can only be the key")
    if len(symbols) > 1 and fields.key is None:
        raise ParameterError(f"{address} has several symbols: set the key to symbol")


def record(
    symbol: str,
    entry: Mapping[str, Any],
    names: Mapping[str, str],
    sides: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the fields of a venue's entry as text, by our names; null becomes empty text.

    names: the venue's name of each of our fields. sides: what the venue's words for the side of a
    trade mean: "1" if a buyer accepted an offer, "-1" if a seller accepted a bid.
    """
    found = {"symbol": symbol}
    for name, theirs in names.items():
        value = entry.get(theirs)
        if type(value) is str:
            found[name] = value
        elif value is not None:
            found[name] = str(value)
        elif theirs in entry:
            found[name] = ""
    if sides is not None and "side" in found:
        found["side"] = sides.get(found["side"], found["side"])
    return found
