"""`python -m benchmarks.reproduce PAPER` measures a paper's claims on avatars and writes tables, JSON and sheets."""

import tyro

from benchmarks.reproduce import style_intervention
from jaxedit.memory import keep_freed_memory

if __name__ == "__main__":
    keep_freed_memory()
    style_intervention.main(
        tyro.extras.subcommand_cli_from_dict(
            {"style_intervention": style_intervention.Options},
            prog="python -m benchmarks.reproduce",
            description=__doc__,
        )
    )
