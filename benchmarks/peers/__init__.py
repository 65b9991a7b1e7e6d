"""Adapters to other implementations, which the user has to have; nothing of theirs is part of this repository."""
