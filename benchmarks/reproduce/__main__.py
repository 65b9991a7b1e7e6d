"""`python -m benchmarks.reproduce NAME` measures a paper's claims, or what published directions do, and writes tables,
JSON and sheets."""

import sys

from benchmarks.reproduce import lelsd, published_directions, sgf, style_intervention
from jaxedit.cli.arguments import UsageError, parse_command
from jaxedit.memory import keep_freed_memory

if __name__ == "__main__":
    keep_freed_memory()
    studies = {
        "style_intervention": (style_intervention.Options, style_intervention.main),
        "lelsd": (lelsd.Options, lelsd.main),
        "sgf": (sgf.Options, sgf.main),
        "published_directions": (published_directions.Options, published_directions.main),
    }
    try:
        known = {name: options for name, (options, _) in studies.items()}
        given = parse_command(known, sys.argv[1:], program="python -m benchmarks.reproduce", description=str(__doc__))
        next(main for options, main in studies.values() if isinstance(given, options))(given)
    except (UsageError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
