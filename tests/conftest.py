"""Strict JAX settings and eight virtual devices for all tests; the folder of real public files."""

import os
import tempfile
from pathlib import Path

import jax
import pytest
from untrained import untrained

from jaxedit import checkpoints
from jaxedit.generators.stylegan2 import StyleGAN2Config, StyleGAN2Generator

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


def pytest_configure(config: pytest.Config) -> None:
    """Each process keeps the programs that it compiles till it ends: a command called twice compiles once."""
    programs = tempfile.TemporaryDirectory()
    config.add_cleanup(programs.cleanup)
    jax.config.update("jax_compilation_cache_dir", programs.name)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """Real public direction files and latents: `$JAXEDIT_FIXTURES` or `../shared/fixtures` beside the checkout."""
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("JAXEDIT_FIXTURES", root.parent / "shared" / "fixtures"))
    if not folder.is_dir():
        pytest.skip(f"no fixtures at {folder}; JAXEDIT_FIXTURES names another place")
    return folder


@pytest.fixture(scope="session")
def cases() -> Path:
    """Files that people reported at peer tools: `$JAXEDIT_CASES` or `../shared/cases` beside the checkout."""
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("JAXEDIT_CASES", root.parent / "shared" / "cases"))
    if not folder.is_dir():
        pytest.skip(f"no cases at {folder}; JAXEDIT_CASES names another place")
    return folder


@pytest.fixture(scope="session")
def config() -> StyleGAN2Config:
    """A tiny architecture whose latent spaces all have different widths."""
    return StyleGAN2Config(resolution=32, z_dim=20, w_dim=24, channel_base=512, channel_max=32, mapping_layers=2)


@pytest.fixture(scope="session")
def generator(config: StyleGAN2Config) -> StyleGAN2Generator:
    """A tiny untrained generator with a fingerprint."""
    return StyleGAN2Generator(untrained(config, 1), config, "0123456789abcdef")


@pytest.fixture(scope="session")
def checkpoint(generator: StyleGAN2Generator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny generator as a checkpoint directory."""
    path = tmp_path_factory.mktemp("checkpoints") / "tiny"
    metadata = {"source": "tests", "sha256": generator.fingerprint, "licence": "none"}
    checkpoints.save(path, network="generator", params=generator.params, config=generator.config, metadata=metadata)
    return path
