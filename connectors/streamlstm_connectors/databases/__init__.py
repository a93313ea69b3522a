"""Databases: PostgreSQL and SQLite."""
