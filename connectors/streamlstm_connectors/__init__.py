"""Connectors of streamlstm: one module a system, found through the entry points of the package."""
