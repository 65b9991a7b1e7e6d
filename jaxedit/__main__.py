"""Starts the command line: `jaxedit` or `python -m jaxedit`."""

import sys

from jaxedit.memory import restart_with_huge_pages


def start() -> int:
    """Runs the command line in a process with huge pages."""
    restart_with_huge_pages()
    from jaxedit.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(start())
