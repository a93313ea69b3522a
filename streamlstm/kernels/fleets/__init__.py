"""Kernels of fleets: a round of ticks of many streams over all cores."""
