"""Kernels of `ForecasterFleet` on the CPU: many forecasters, on all cores."""
