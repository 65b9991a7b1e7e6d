"""Starts the command line: `jaxedit` or `python -m jaxedit`."""

import os
import sys

from jaxedit.memory import restart_with_huge_pages


def start() -> int:
    """Runs the command line in a process with huge pages."""
    try:
        restart_with_huge_pages()
        from jaxedit.cli import main

        code = main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    if code > 128:
        os._exit(code)  # nothing that still computes or compiles is waited for
    return code


if __name__ == "__main__":
    sys.exit(start())
