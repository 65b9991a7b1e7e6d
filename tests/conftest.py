"""Strict JAX settings and eight virtual devices for all tests; the folder of real public files."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax
import jaxtyping
import pytest
from untrained import untrained

from jaxedit import checkpoints
from jaxedit.generators.stylegan2 import StyleGAN2Config, StyleGAN2Generator

OPTIMISED = {"test_nn", "test_parity", "test_stylegan2", "test_batch"}

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


def pytest_configure(config: pytest.Config) -> None:
    """Each process keeps the programs that it compiles till it ends: a command called twice compiles once.

    Programs started by the tests hear SIGINT, also where these run in the background of a shell, which ignores it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    programs = tempfile.TemporaryDirectory()
    config.add_cleanup(programs.cleanup)
    jax.config.update("jax_compilation_cache_dir", programs.name)
    os.environ["XDG_CACHE_HOME"] = programs.name  # of commands in processes of their own
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


@pytest.fixture(autouse=True, scope="module")
def compile_as_it_pays(request: pytest.FixtureRequest) -> Iterator[None]:
    """Programs as users have them where numbers are compared with those of others; quickly compiled ones elsewhere,
    since most tests compile longer than they compute. A file's programs end with it: each takes several of the 65,530
    mappings of memory that Linux gives a process, and one more is a segmentation fault."""
    jax.config.update("jax_disable_most_optimizations", request.path.stem not in OPTIMISED)
    yield
    jax.clear_caches()


def shared_folder(name: str) -> Path:
    """A folder of real files: `$JAXEDIT_NAME`, or `../shared/NAME` beside the checkout; tests skip without it."""
    variable = f"JAXEDIT_{name.upper()}"
    folder = Path(os.environ.get(variable, Path(__file__).resolve().parents[2] / "shared" / name))
    if not folder.is_dir():
        pytest.skip(f"no {name} at {folder}; {variable} names another place")
    return folder


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """Real public direction files and latents."""
    return shared_folder("fixtures")


@pytest.fixture(scope="session")
def cases() -> Path:
    """Files that users reported."""
    return shared_folder("cases")


@pytest.fixture(scope="session")
def config() -> StyleGAN2Config:
    """A tiny architecture whose latent spaces all have different widths."""
    return StyleGAN2Config(resolution=32, z_dim=20, w_dim=24, channel_base=512, channel_max=32, mapping_layers=2)


@pytest.fixture(scope="session")
def generator(config: StyleGAN2Config) -> StyleGAN2Generator:
    """A tiny untrained generator with its fingerprint."""
    params = untrained(config, 1)
    return StyleGAN2Generator(params, config, checkpoints.fingerprint(params))


@pytest.fixture(scope="session")
def checkpoint(generator: StyleGAN2Generator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny generator as a checkpoint directory."""
    path = tmp_path_factory.mktemp("checkpoints") / "tiny"
    metadata = {"source": "tests", "licence": "none"}
    checkpoints.save(path, params=generator.params, config=generator.config, metadata=metadata)
    return path


@pytest.fixture
def unchecked() -> Iterator[None]:
    """As users have it: the annotations of shapes are not checked, which otherwise comes before our own messages."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
