"""Databases as sinks: PostgreSQL and SQLite."""
