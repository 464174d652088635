"""Benchmarks of the running system: figures, never assertions on time."""
