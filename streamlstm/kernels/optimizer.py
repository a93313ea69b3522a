"""Optimisers over the flat parameter buffer, with clipping by global norm."""

import math

import numpy as np

from .jit import jit, jit_reduction

SGD, RMSPROP, ADAM = 0, 1, 2
OPTIMIZERS = {"sgd": SGD, "rmsprop": RMSPROP, "adam": ADAM}

MOMENTUM = np.float32(0.9)  # sgd
SMOOTHING = np.float32(0.99)  # rmsprop
BETA1, BETA2 = np.float32(0.9), np.float32(0.999)  # adam
EPSILON = np.float32(1e-8)
# Averages that decay into denormals make an update ten times slower: squares have a floor, smaller
# means become zero.
SMALLEST_SQUARE = np.float32(1e-30)
SMALLEST_MEAN = np.float32(1e-30)

ZERO = np.float32(0.0)
ONE = np.float32(1.0)


@jit_reduction
def squared_norm(x):
    """Sum of squares of a vector."""
    total = ZERO
    for n in range(x.size):
        total += x[n] * x[n]
    return total


@jit
def clip_factor(squares, clip_norm):
    """Factor that clips a gradient to the global norm `clip_norm` (Pascanu et al. 2013).

    squares: sum of squares of the gradient. The factor is 0 if that is not finite.
    """
    norm = math.sqrt(squares)
    if not norm < np.inf:
        return ZERO
    if norm <= clip_norm:
        return ONE
    return np.float32(clip_norm / norm)


@jit
def sgd_step(params, first, grads, rate, factor):
    """Stochastic gradient descent with momentum: m = 0.9 m + d; p -= rate m."""
    for n in range(params.size):
        m = MOMENTUM * first[n] + factor * grads[n]
        first[n] = m if abs(m) > SMALLEST_MEAN else ZERO
        params[n] -= rate * first[n]


@jit
def rmsprop_step(params, second, grads, rate, factor):
    """RMSProp (Tieleman & Hinton 2012): v = 0.99 v + 0.01 d^2; p -= rate d / sqrt(v)."""
    for n in range(params.size):
        d = factor * grads[n]
        v = SMOOTHING * second[n] + (ONE - SMOOTHING) * d * d
        second[n] = v if v > SMALLEST_SQUARE else SMALLEST_SQUARE
        params[n] -= rate * d / (np.sqrt(second[n]) + EPSILON)


@jit
def adam_step(params, first, second, grads, rate, factor, updates):
    """Adam (Kingma & Ba 2015) with bias correction. updates: number of this update, from 1."""
    correction1 = np.float32(1.0 / (1.0 - 0.9**updates))
    correction2 = np.float32(1.0 / (1.0 - 0.999**updates))
    for n in range(params.size):
        d = factor * grads[n]
        m = BETA1 * first[n] + (ONE - BETA1) * d
        v = BETA2 * second[n] + (ONE - BETA2) * d * d
        first[n] = m if abs(m) > SMALLEST_MEAN else ZERO
        second[n] = v if v > SMALLEST_SQUARE else SMALLEST_SQUARE
        params[n] -= rate * (m * correction1) / (np.sqrt(second[n] * correction2) + EPSILON)


@jit
def optimizer_step(params, first, second, grads, kind, learning_rate, factor, updates):
    """One step of an optimiser along `factor` times the gradient; none if the factor is 0.

    All buffers are flat, (P,).
    """
    rate = np.float32(learning_rate)
    if factor == ZERO:
        return
    if kind == SGD:
        sgd_step(params, first, grads, rate, factor)
    elif kind == RMSPROP:
        rmsprop_step(params, second, grads, rate, factor)
    else:
        adam_step(params, first, second, grads, rate, factor, updates)
