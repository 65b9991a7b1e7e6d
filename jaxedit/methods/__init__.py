"""The published editing methods, one module each."""
