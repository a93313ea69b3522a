"""Fields of market data: how venues call them, and whether a run names any that are not there."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from streamlstm.errors import ParameterError
from streamlstm.live import Address, Fields


def check(
    address: Address,
    fields: Fields,
    symbols: Sequence[str],
    channel: str,
    channels: Mapping[str, Collection[str]],
) -> None:
    """Raise ParameterError for what cannot be had: channels are names of fields by name."""
    if not any(symbols):
        raise ParameterError(f"{address} names no symbol")
    if channel not in channels:
        known = ", ".join(channels)
        raise ParameterError(f"{address}: {channel!r} is no channel; known are {known}")
    has = ["symbol", *channels[channel]]
    for name in (fields.value, fields.key, fields.time, *fields.features, fields.sequence):
        if name is not None and name not in has:
            raise ParameterError(
                f"{address}: the channel {channel} has no field {name!r}; it has {', '.join(has)}"
            )
    if "symbol" in (fields.value, fields.time, *fields.features, fields.sequence):
        raise ParameterError(f"{address}: symbol may be the key only")
    if len(symbols) > 1 and fields.key is None:
        raise ParameterError(f"{address} has several symbols: let the key be symbol")


def record(
    symbol: str,
    entry: Mapping[str, Any],
    names: Mapping[str, str],
    sides: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Fields as text, by our names; missing ones are empty.

    names: the venue's for each of ours. sides: "1" if a buyer took an offer, "-1" if a seller a
    bid, for what the venue says.
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
