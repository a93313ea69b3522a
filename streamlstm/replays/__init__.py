"""Replays: a recorded stream forecast tick by tick, scored, reported and plotted."""
