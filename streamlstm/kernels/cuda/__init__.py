"""Kernels of fleets on a GPU."""
