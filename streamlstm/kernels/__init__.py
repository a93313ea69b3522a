"""Compiled kernels: functions of arrays that know no class. README.md is the map."""
