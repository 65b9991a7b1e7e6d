"""Where directions come from."""
