"""Replays: forecast a recorded stream tick by tick, and score, report and plot the forecasts."""
