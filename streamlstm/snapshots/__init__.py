"""Snapshots: models saved to files and loaded again, equal to the last bit."""
