"""Connectors of streamlstm, by the kind of system that they talk to.

A connector is found by the scheme of an address, through the entry points in pyproject.toml. Each
module is loaded when it is used, and only then needs the library of its system.
"""
