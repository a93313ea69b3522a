"""Compiled mathematics: arrays in, arrays out, one idea a file."""
