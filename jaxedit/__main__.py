"""`python -m jaxedit`: the same command line as `jaxedit`."""

import sys

from jaxedit.cli import main

if __name__ == "__main__":
    sys.exit(main())
