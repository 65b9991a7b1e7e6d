"""Parameters of untrained generators, which take longer to compile than most tests need to run."""

import functools
from typing import Any

import jax

from jaxedit.generators import stylegan2
from jaxedit.generators.stylegan2 import StyleGAN2Config

QUICKLY = {"xla_backend_optimization_level": 0}


@functools.cache
def untrained(config: StyleGAN2Config, seed: int = 0) -> Any:
    """`stylegan2.init`, compiled quickly and once."""
    init = jax.jit(functools.partial(stylegan2.init, config=config), compiler_options=QUICKLY)
    return init(jax.random.key(seed))
