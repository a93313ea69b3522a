"""Kernels of `LSTMForecaster`: a series, its committee of members and its intervals."""
