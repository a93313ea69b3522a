"""NumPy float64 twins of the kernels: obvious, slow, and what the kernels are tested against.

From the bottom: `lstm`, `cells`, `optimizer`, `network`, `intervals`, `forecaster`.
"""
