"""Fleets: many streams, each with its own forecaster, learned together."""
