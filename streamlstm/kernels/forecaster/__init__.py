"""Kernels of `LSTMForecaster`: one series, its committee and its intervals."""
