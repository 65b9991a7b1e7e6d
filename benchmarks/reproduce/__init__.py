"""The papers' tables, measured on the built-in world: `python -m benchmarks.reproduce PAPER`."""
