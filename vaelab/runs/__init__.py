"""Runs and sweeps: what is trained and measured in a directory, gone on with, and loaded again."""
