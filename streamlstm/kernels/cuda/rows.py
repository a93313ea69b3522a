"""Reading the forecasts of streams, and writing the state that they start with."""

from .device import cuda
from .series import forecast_parts


@cuda.jit
def read_forecasts(parts, streams, rows):
    """Forecasts of the streams in these rows. parts: (G, 4), see `forecast_parts`."""
    b = cuda.grid(1)
    if b < rows.size:
        r = rows[b]
        forecast_parts(parts[b], streams.counts[r], streams.stats[r], streams.channels[r])


@cuda.jit
def fill(array, values, rows):
    """Write values, (W,), to each of these rows of an array, (S, W), with a block for each."""
    r = rows[cuda.blockIdx.x]
    for k in range(cuda.threadIdx.x, values.size, cuda.blockDim.x):
        array[r, k] = values[k]
