"""Parameters of untrained networks, which take longer to compile than most tests need to run."""

import functools
from typing import Any

import jax

from jaxedit import families

QUICKLY = {"xla_backend_optimization_level": 0}


@functools.cache
def untrained(config: Any, seed: int = 0) -> Any:
    """`families.init`, compiled quickly and once."""
    init = jax.jit(functools.partial(families.init, config=config), compiler_options=QUICKLY)
    return init(jax.random.key(seed))
