"""Buffers of a series and the named views into them: statistics, committee, intervals, history.

Those of the network are in `kernels.layout`. Letters: S seasons, F features, K horizons, I inputs
of the network, N regressors, R recursive least squares, M members, C channels, L quantile levels.
"""

from typing import NamedTuple

import numpy as np

from ..jit import jit_inlined, jit_part
from ..layout import CLOCK
from ..scaling import SCALER, Scaler, scaler_views
from ..views import matrix, row

RLS = 4  # number of recursive least squares in a committee
CONTROL = RLS  # index of one more: it tells what the second season is worth
LAGS = 23  # number of earlier values that they read
PROFILES = 2  # number of profiles of a season: one adapts fast, one averages long
LEVEL, CHANGE, FIRST_SEASON = 0, 1, 2  # channels of the scaler, see `scaled_size`
LOW, HIGH, NEWEST = 0, 1, 2  # entries of `SeriesViews.clipped`


class Shape(NamedTuple):
    """Sizes of a series: what its buffers are opened with."""

    seasons: int  # S
    features: int  # F
    horizon: int  # K


@jit_part
def shape_of(clock, features) -> Shape:
    """The shape of a series with F features."""
    return Shape(clock.size - CLOCK.periods, features, clock[CLOCK.horizon])


@jit_part
def inputs_size(shape):
    """I: level, change, RLS forecasts, five for each season, features."""
    return 2 + RLS + (3 + PROFILES) * shape.seasons + shape.features


@jit_part
def scaled_size(shape):
    """C: channels with running statistics are level, change, three a season, features."""
    return 2 + (1 + PROFILES) * shape.seasons + shape.features


@jit_part
def committee_size(shape):
    """M: the last value, three a season, recursive least squares, the LSTM."""
    return 1 + (1 + PROFILES) * shape.seasons + RLS + 1


@jit_part
def regressors_size(shape):
    """N: a constant, the level, the lags, seven a season, features."""
    return 2 + LAGS + (3 + 2 * PROFILES) * shape.seasons + shape.features


@jit_inlined
def first_feature(shape: Shape):
    """Channel of the first feature."""
    return FIRST_SEASON + (1 + PROFILES) * shape.seasons


@jit_inlined
def first_rls(shape: Shape):
    """Index of the first recursive least squares among the members; the network is the last."""
    return 1 + (1 + PROFILES) * shape.seasons


class LeastSquares(NamedTuple):
    """R = RLS + 1 recursive least squares on N regressors (see `least_squares`)."""

    regressors: np.ndarray  # (N,) for the next tick
    gain: np.ndarray  # (N,) work space
    deviations: np.ndarray  # (R,) running mean absolute error of late
    errors: np.ndarray  # (R,) and over a longer time
    coefficients: np.ndarray  # (R, N)
    covariance: np.ndarray  # (R * N, N), one square matrix below the other


class Committee(NamedTuple):
    """A committee of M members that forecast K ticks (see `committee`).

    A ring keeps the outputs of the last K origins until the values arrive.
    """

    members: np.ndarray  # (M,) 1 for a member that takes part, 0 for others
    weights: np.ndarray  # (K, M) in the mixture
    products: np.ndarray  # (K, M) running mean of output x target
    squares: np.ndarray  # (K, M) running mean of output^2
    gates: np.ndarray  # (K, M) factor of each output, 0 to 1
    errors: np.ndarray  # (K,) running mean absolute error of the mixture
    outputs: np.ndarray  # (K * K, M) of origin o in rows o K .. o K + K - 1
    values: np.ndarray  # (K,) newest value at each origin
    scales: np.ndarray  # (K,) running mean absolute change at each origin


QUANTILES = 13  # number of levels that are tracked
DRIFT_INTERVAL = 32  # ticks between checks for drift


class Intervals(NamedTuple):
    """Quantiles of the errors at K horizons and L levels (see `intervals`).

    A ring keeps what was forecast from the last K origins, origin o in rows o K .. o K + K - 1.
    """

    common: np.ndarray  # (5,) running means of |e| and of the value
    means: np.ndarray  # (K,) of |e|
    counts: np.ndarray  # (K,) of errors seen
    quantiles: np.ndarray  # (K, L) of asinh(e / scale)
    weights: np.ndarray  # (K, 3) of the scale's features
    covariance: np.ndarray  # (3K, 3)
    forecasts: np.ndarray  # (K * K,)
    scales: np.ndarray  # (K * K,) predicted with them
    features: np.ndarray  # (K * K, 3) of the scales
    issued: np.ndarray  # (K * K, L) quantiles stored with them
    recent: np.ndarray  # (DRIFT_INTERVAL,) ring of |e| one tick ahead, in mean absolute changes
    gain: np.ndarray  # (3,) work space


@jit_part
def intervals_size(K):
    """Length of the buffer of the intervals at K horizons."""
    L = QUANTILES
    return 5 + 2 * K + K * L + 12 * K + K * K * (5 + L) + DRIFT_INTERVAL + 3


@jit_part
def intervals_views(buffer, K) -> Intervals:
    """Open the buffer of the intervals at K horizons."""
    L = QUANTILES
    weights = 5 + 2 * K + K * L
    forecasts = weights + 12 * K
    issued = forecasts + 5 * K * K
    recent = issued + K * K * L
    return Intervals(
        row(buffer, 0, 5),
        row(buffer, 5, K),
        row(buffer, 5 + K, K),
        matrix(buffer, 5 + 2 * K, K, L),
        matrix(buffer, weights, K, 3),
        matrix(buffer, weights + 3 * K, 3 * K, 3),
        row(buffer, forecasts, K * K),
        row(buffer, forecasts + K * K, K * K),
        matrix(buffer, forecasts + 2 * K * K, K * K, 3),
        matrix(buffer, issued, K * K, L),
        row(buffer, recent, DRIFT_INTERVAL),
        row(buffer, recent + DRIFT_INTERVAL, 3),
    )


class SeriesViews(NamedTuple):
    """Views of a series; those of its network are `NetworkViews`."""

    shape: Shape
    scaler: Scaler
    clipped: np.ndarray  # (3,) smallest, largest and newest value, spikes clipped
    features: np.ndarray  # (F,) as they last arrived
    rls: LeastSquares
    committee: Committee
    intervals: Intervals
    periods: np.ndarray  # (S,)
    history: np.ndarray  # (2 + 2S, ticks) rings: values without gaps; profiles; errors


@jit_part
def rings_size(shape):
    """Number of rings of a history: values, profiles of each season, |e| smoothed like them."""
    return 1 + PROFILES * shape.seasons + 1


@jit_part
def least_squares_size(N):
    """Length of the buffer of the least squares on N regressors."""
    return 2 * N + (RLS + 1) * (2 + N + N * N)


@jit_part
def series_size(shape):
    """Length of the statistics buffer of a series."""
    C, M, K = scaled_size(shape), committee_size(shape), shape.horizon
    committee = M + 4 * K * M + K + K * K * M + 2 * K
    return SCALER * C + 3 + shape.features + least_squares_size(regressors_size(shape)) + committee


@jit_part
def least_squares_views(buffer, start, shape) -> LeastSquares:
    """Open the least squares that start at `start`."""
    N, R = regressors_size(shape), RLS + 1
    coefficients = start + 2 * N + 2 * R
    return LeastSquares(
        row(buffer, start, N),
        row(buffer, start + N, N),
        row(buffer, start + 2 * N, R),
        row(buffer, start + 2 * N + R, R),
        matrix(buffer, coefficients, R, N),
        matrix(buffer, coefficients + R * N, R * N, N),
    )


@jit_part
def committee_views(buffer, start, shape) -> Committee:
    """Open the committee that starts at `start`."""
    K, M = shape.horizon, committee_size(shape)
    weights = start + M
    errors = weights + 4 * K * M
    outputs = errors + K
    values = outputs + K * K * M
    return Committee(
        row(buffer, start, M),
        matrix(buffer, weights, K, M),
        matrix(buffer, weights + K * M, K, M),
        matrix(buffer, weights + 2 * K * M, K, M),
        matrix(buffer, weights + 3 * K * M, K, M),
        row(buffer, errors, K),
        matrix(buffer, outputs, K * K, M),
        row(buffer, values, K),
        row(buffer, values + K, K),
    )


@jit_part
def series_views(stats, errors, history, clock, shape) -> SeriesViews:
    """Open the buffers of a series."""
    C, N = scaled_size(shape), regressors_size(shape)
    features = SCALER * C + 3
    rls = features + shape.features
    committee = rls + least_squares_size(N)
    rings = rings_size(shape)
    return SeriesViews(
        shape,
        scaler_views(stats, C),
        row(stats, SCALER * C, 3),
        row(stats, features, shape.features),
        least_squares_views(stats, rls, shape),
        committee_views(stats, committee, shape),
        intervals_views(errors, shape.horizon),
        row(clock, CLOCK.periods, shape.seasons),
        matrix(history, 0, rings, history.size // rings),
    )


class Work(NamedTuple):
    """Float64 work space to forecast h ticks ahead."""

    paths: np.ndarray  # (RLS, LAGS + 1 + h) last values, then forecasts of each RLS
    repeats: np.ndarray  # (S, h + 2) values from one season before the newest on
    profiles: np.ndarray  # (2S, h + 1) the same of the profiles
    outputs: np.ndarray  # (h, M)
    regressors: np.ndarray  # (N,)
    ordered: np.ndarray  # (L,)


@jit_part
def work_size(shape, h):
    """Length of the work space to forecast h ticks."""
    S, M, N = shape.seasons, committee_size(shape), regressors_size(shape)
    paths = RLS * (LAGS + 1 + h) + S * (h + 2) + PROFILES * S * (h + 1)
    return paths + h * M + N + QUANTILES


@jit_part
def work_views(buffer, shape) -> Work:
    """Open a work space for as many ticks as fit in."""
    S, M, N = shape.seasons, committee_size(shape), regressors_size(shape)
    each = RLS + S + PROFILES * S + M
    h = (buffer.size - QUANTILES - N - RLS * (LAGS + 1) - 2 * S - PROFILES * S) // each
    repeats = RLS * (LAGS + 1 + h)
    profiles = repeats + S * (h + 2)
    outputs = profiles + PROFILES * S * (h + 1)
    return Work(
        matrix(buffer, 0, RLS, LAGS + 1 + h),
        matrix(buffer, repeats, S, h + 2),
        matrix(buffer, profiles, PROFILES * S, h + 1),
        matrix(buffer, outputs, h, M),
        row(buffer, outputs + h * M, N),
        row(buffer, outputs + h * M + N, QUANTILES),
    )
