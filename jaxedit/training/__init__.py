"""Loops that fit parameters: checkpointed and resumable."""
