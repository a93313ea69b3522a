"""Ticks to bars: nanoseconds a tick, beside Python tick by tick and pandas over the whole stream.

100,000 ticks of 10 streams, a millisecond apart, in batches of 1,000; bars of a second with open,
high, low and close of the value and the sum of a feature. The peers are given the ticks in the form
that suits them, and hold on to no stream: pandas has all ticks at once and makes no ids.
"""

import harness

harness.one_thread()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from streamlstm.live.bars import Bars  # noqa: E402
from streamlstm.live.batch import Batch  # noqa: E402

TICKS, KEYS, BATCH = 100_000, 10, 1000
SECOND = 10**9


def python(ticks: list[tuple[str, int, float, float]]) -> list[tuple]:
    """Bars as a loop with a dict makes them."""
    bars: dict[str, list] = {}
    closed = []
    for key, time, value, size in ticks:
        end = time - time % SECOND + SECOND
        bar = bars.get(key)
        if bar is not None and end == bar[0]:
            bar[2] = max(bar[2], value)
            bar[3] = min(bar[3], value)
            bar[4] = value
            bar[5] += size
        else:
            if bar is not None:
                closed.append((key, *bar))
            bars[key] = [end, value, value, value, value, size]
    return closed


def pandas(frame: pd.DataFrame) -> pd.DataFrame:
    """Bars of a table."""
    groups = frame.groupby(["key", frame["time"] // SECOND], sort=False)
    return groups.agg(
        open=("value", "first"),
        high=("value", "max"),
        low=("value", "min"),
        close=("value", "last"),
        size=("size", "sum"),
    )


def resample(frame: pd.DataFrame) -> pd.DataFrame:
    """Bars of a table, by its resample."""
    groups = frame.set_index("moment").groupby("key").resample("1s")
    ohlc = groups["value"].ohlc()
    return ohlc.assign(size=groups["size"].sum())


def main() -> None:
    """Measure and print."""
    rng = np.random.default_rng(0)
    values, sizes = rng.normal(size=TICKS).cumsum(), rng.exponential(size=TICKS)
    times = 1_700_000_000 * SECOND + np.arange(TICKS) * SECOND // 1000
    keys = [f"stream {n}" for n in rng.integers(KEYS, size=TICKS).tolist()]
    names = [str(n) for n in range(TICKS)]
    whole = Batch(values, {"size": sizes}, times, names, keys, names)
    batches = [whole.part(start, start + BATCH) for start in range(0, TICKS, BATCH)]
    rows = list(zip(keys, times.tolist(), values.tolist(), sizes.tolist(), strict=True))
    frame = pd.DataFrame({"key": keys, "time": times, "value": values, "size": sizes})
    frame["moment"] = pd.to_datetime(times)

    def ours() -> int:
        bars = Bars("1s", "close", ("open", "high", "low", "size:sum"))
        return sum(map(len, map(bars.update, batches)))

    open_bars = KEYS
    counts = [ours() + open_bars, len(python(rows)) + open_bars, len(pandas(frame))]
    assert len(set([*counts, len(resample(frame))])) == 1, counts
    sides = {
        "Bars": ours,
        "Python": lambda: python(rows),
        "pandas groupby": lambda: pandas(frame),
        "pandas resample": lambda: resample(frame),
    }
    figures = harness.in_turns(sides, rounds=7, seconds=1.0)
    cells = []
    for name, found in figures.items():
        nanoseconds = found.median * 1000 / TICKS
        ratio = found.ratio_to(figures["Bars"])
        cells.append([name, f"{nanoseconds:.0f}", f"{1000 / nanoseconds:.2g}", f"{ratio:.2g}x"])
    data = {name: found.rounds for name, found in figures.items()}
    header = ["", "ns a tick", "million ticks a second", "time beside ours"]
    harness.report("bars", "Ticks to bars of a second, 10 streams", header, cells, data)


if __name__ == "__main__":
    main()
