"""`python -m benchmarks.reproduce PAPER` measures a paper's claims on avatars and writes tables, JSON and sheets."""

import sys

from benchmarks.reproduce import style_intervention
from jaxedit.cli.arguments import UsageError, parse_command
from jaxedit.memory import keep_freed_memory

if __name__ == "__main__":
    keep_freed_memory()
    try:
        papers, program = {"style_intervention": style_intervention.Options}, "python -m benchmarks.reproduce"
        options = parse_command(papers, sys.argv[1:], program=program, description=str(__doc__))
    except UsageError as error:
        sys.exit(f"error: {error}")
    style_intervention.main(options)
