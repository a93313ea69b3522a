"""Fleets: many streams, a forecaster for each, learned side by side."""
