"""Training a generator beside the renders of its latents: the loss, and the command."""

import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_avatars import TINY
from untrained import QUICKLY, untrained

from jaxedit import checkpoints
from jaxedit.avatars import latents, models
from jaxedit.avatars.factors import IDENTITY, Factors
from jaxedit.avatars.renderer import render
from jaxedit.avatars.training import mixing, pairs
from jaxedit.cli import avatars as program
from jaxedit.networks import attributes
from jaxedit.networks.attributes import AttributeClassifier, AttributesConfig

CLASSIFIER = AttributesConfig(16, (4, 6), 1, 2, 12)


@pytest.fixture(scope="module")
def classifier() -> AttributeClassifier:
    init = jax.jit(functools.partial(attributes.init, config=CLASSIFIER), compiler_options=QUICKLY)
    return AttributeClassifier(init(jax.random.key(0)), CLASSIFIER)


@pytest.mark.slow
def test_an_image_is_nearest_to_the_render_of_its_latent(classifier):
    """Protects: every part of the errors is 0 for the render itself and for no other; parts are weighted."""
    z = jax.random.normal(jax.random.key(2), (4, latents.Z_DIM))
    drawn = jax.vmap(lambda one: render(latents.factors_from_z(one), size=16))(z)
    errors = jax.vmap(functools.partial(pairs.pair_errors, classifier=classifier), (None, 0, 0))
    table = jax.jit(jax.vmap(errors, (0, None, None)), compiler_options=QUICKLY)(
        drawn.image, drawn.image, drawn.parsing
    )
    for part in map(np.asarray, table):
        np.testing.assert_allclose(np.diagonal(part), 0.0, atol=1e-5)
        assert (part + np.eye(4) > 1e-3).all()
    weighted = functools.partial(pairs.weighted, weights=pairs.PairErrors(2.0, 3.0, 4.0))
    found = jax.vmap(jax.vmap(weighted))(table)
    np.testing.assert_allclose(found, 2 * table.pixels + 3 * table.edges + 4 * table.features, rtol=1e-5)


def test_every_factor_is_of_one_group_of_rows():
    """Protects: the avatar beside a fake of two latents, and that there is none where the crossover divides a group."""
    names = [name for group in mixing.GROUPS.values() for name in group]
    assert sorted(names) == sorted([*IDENTITY, *(set(Factors._fields) - {"identity"})])
    z, rows = jax.random.normal(jax.random.key(3), (2, latents.Z_DIM)), 10
    mixed = jax.jit(functools.partial(mixing.mixed_avatar, num_ws=rows), compiler_options=QUICKLY)

    def named(factors):
        return {**dict(zip(IDENTITY, factors.identity, strict=True)), **factors._asdict()}

    own = [named(jax.tree.map(np.asarray, latents.factors_from_z(one))) for one in z]
    for crossover in range(1, rows + 1):
        avatar = mixed(z, jnp.int32(crossover))
        assert avatar.whole == (crossover in {*mixing.GROUPS, rows})
        for row, group in mixing.GROUPS.items():
            for name in group:
                wanted = own[int(row >= crossover)][name]
                np.testing.assert_allclose(named(avatar.factors)[name], wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_features_are_those_of_the_classifiers_size(classifier):
    """Protects: generators of more pixels than the classifier knows."""
    rendering = render(latents.factors_from_z(jax.random.normal(jax.random.key(4), (latents.Z_DIM,))), size=16)
    errors = functools.partial(pairs.pair_errors, classifier=classifier)
    small = errors(0.5 * rendering.image, rendering.image, rendering.parsing)
    half, whole, parsing = (
        np.asarray(picture).repeat(2, axis=0).repeat(2, axis=1)
        for picture in (0.5 * rendering.image, rendering.image, rendering.parsing)
    )
    large = errors(jnp.asarray(half), jnp.asarray(whole), jnp.asarray(parsing))
    assert small.features > 0.01
    np.testing.assert_allclose(large.features, small.features, rtol=1e-4)
    np.testing.assert_allclose(large.pixels, small.pixels, rtol=1e-4)


@pytest.mark.slow
def test_the_command_trains_beside_renders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classifier, capsys: Any):
    """Protects: the command of the model card, and that with other weights it is another training."""
    monkeypatch.setattr(models, "load_classifier", lambda: classifier)
    checkpoints.save(tmp_path / "fit", params=untrained(TINY), config=TINY, metadata={})
    command = ["paired", "--init", str(tmp_path / "fit"), "--output", str(tmp_path / "run"), "--batch-size", "8"]
    assert program.main([*command, "--images", "16"]) == 0
    rows = [json.loads(row) for row in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 2 and rows[-1]["pair_loss"] > 0 and rows[-1]["generator_loss"] > 0
    assert checkpoints.load(tmp_path / "run" / "generator").config == TINY
    capsys.readouterr()
    assert program.main([*command, "--images", "16", "--features", "2"]) == 1
    assert "another training" in capsys.readouterr().err
