"""Activation functions of a float32 value, or of a vector of them.

CPU and CUDA kernels share them.
"""

import numpy as np

from .jit import jit_scalar
from .vector import maximum, minimum

ONE = np.float32(1.0)
HALF = np.float32(0.5)

# Rational approximation of degree 13/6 with the coefficients of Eigen 3.4
# (MathFunctionsImpl.h, ptanh_float); beyond the bound float32 tanh is 1.
_BOUND = np.float32(7.90531110763549805)
_A1 = np.float32(4.89352455891786e-03)
_A3 = np.float32(6.37261928875436e-04)
_A5 = np.float32(1.48572235717979e-05)
_A7 = np.float32(5.12229709037114e-08)
_A9 = np.float32(-8.60467152213735e-11)
_A11 = np.float32(2.00018790482477e-13)
_A13 = np.float32(-2.76076847742355e-16)
_B0 = np.float32(4.89352518554385e-03)
_B2 = np.float32(2.26843463243900e-03)
_B4 = np.float32(1.18534705686654e-04)
_B6 = np.float32(1.19825839466702e-06)


@jit_scalar
def tanh(x):
    """Hyperbolic tangent to within 3e-7, without a library call, so that loops vectorise."""
    x = minimum(maximum(x, -_BOUND), _BOUND)
    s = x * x
    p = _A11 + s * _A13
    p = _A9 + s * p
    p = _A7 + s * p
    p = _A5 + s * p
    p = _A3 + s * p
    p = _A1 + s * p
    q = _B4 + s * _B6
    q = _B2 + s * q
    q = _B0 + s * q
    return x * p / q


@jit_scalar
def sigmoid(x):
    """Logistic function, 1 / (1 + exp(-x))."""
    return HALF * tanh(HALF * x) + HALF
