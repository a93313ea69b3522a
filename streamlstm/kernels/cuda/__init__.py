"""CUDA kernels of fleets: a round of ticks in one to three launches; the only imports of CUDA.

A block of threads learns from a stream's tick: thread 0 updates scaler and committee, then all
threads back-propagate through the stream's tape, update the weights and take the next step. Units
and columns are split over the threads, whatever their number.
"""
