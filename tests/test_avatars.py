"""The built-in world: what is drawn is what the factors say, and the maps that lead to the factors are as written."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from untrained import QUICKLY

from jaxedit import avatars
from jaxedit.avatars import ATTRIBUTES, IDENTITY, INFLUENCES, LATENTS, PARSING_CLASSES, Factors, latents
from jaxedit.avatars import factors as factors_module
from jaxedit.avatars.geometry import measure
from jaxedit.avatars.training import fitting
from jaxedit.generators import stylegan2
from jaxedit.generators.stylegan2 import StyleGAN2Config

SIZE = 64
CLASS = {name: index for index, name in enumerate(PARSING_CLASSES)}


@functools.cache
def drawn(count: int = 128):
    """Factors and renderings of held-out avatars."""

    def one(key):
        factors = avatars.sample_factors(key)
        return factors, avatars.render(factors, size=SIZE)

    return jax.jit(jax.vmap(one), compiler_options=QUICKLY)(jax.random.split(jax.random.key(100), count))


@functools.cache
def plain() -> Factors:
    """A frontal face of average measures, without anything that hides a part of it."""
    average = avatars.factors_from_normal(jnp.zeros(len(LATENTS)))
    off = dict.fromkeys(("hair_length", "hair_curl", "bangs", "beard", "eyeglasses", "hat"), jnp.float32(0.0))
    off |= dict.fromkeys(("earrings", "necklace", "age", "mouth_open", "narrow_eyes"), jnp.float32(0.0))
    return average._replace(**off)


render = jax.jit(functools.partial(avatars.render, size=SIZE), compiler_options=QUICKLY)


def changed(**factors: float) -> np.ndarray:
    """The largest change of each pixel when factors of the plain face are set."""
    after = render(plain()._replace(**{name: jnp.float32(value) for name, value in factors.items()}))
    return np.abs(np.asarray(after.image - render(plain()).image)).max(axis=-1)


def pixel(points) -> np.ndarray:
    return np.clip(((np.asarray(points) + 1.0) * SIZE / 2).astype(int), 0, SIZE - 1)


def test_pictures_are_in_range_and_hold_every_class():
    """Protects: the value range, the label range, and that no class of the 19 has been lost."""
    _, rendering = drawn()
    image, parsing = np.asarray(rendering.image), np.asarray(rendering.parsing)
    assert image.min() >= -1.0 and image.max() <= 1.0 and image.std() > 0.2
    assert set(np.unique(parsing)) == set(range(19))


@pytest.mark.parametrize("name", ["skin", "l_eye", "r_eye", "nose", "u_lip", "l_lip", "hair", "cloth", "neck"])
def test_every_face_without_glasses_or_hat_shows(name):
    """Protects: parts that every avatar has."""
    factors, rendering = drawn()
    bare = np.asarray((factors.eyeglasses < 0.4) & (factors.hat < 0.4))
    assert (np.asarray(rendering.parsing)[bare] == CLASS[name]).any(axis=(1, 2)).all()


def test_accessories_are_labelled_exactly_where_the_factors_say():
    """Protects: the truth of the parsing map for things that are worn or not."""
    factors, rendering = drawn()
    parsing = np.asarray(rendering.parsing)
    for name, factor in (("eye_g", factors.eyeglasses), ("hat", factors.hat), ("neck_l", factors.necklace)):
        shown = (parsing == CLASS[name]).any(axis=(1, 2))
        clear = np.abs(np.asarray(factor) - 0.5) > 0.15
        np.testing.assert_array_equal(shown[clear], np.asarray(factor > 0.5)[clear], err_msg=name)


def test_the_background_has_no_stray_marks():
    """Protects: outlines whose distance vanishes far from the shape drew thin lines beside the head once."""
    _, rendering = drawn()
    left = np.asarray(rendering.image)[:, : SIZE * 3 // 4, :4]
    free = (np.asarray(rendering.parsing)[:, : SIZE * 3 // 4, :8] == 0).all(axis=2)
    steps = np.abs(np.diff(left, axis=1)).max(axis=(2, 3))
    free = free[:, 1:] & free[:, :-1]
    assert free.mean() > 0.5 and steps[free].max() < 0.04


def test_keypoints_lie_on_what_they_name():
    """Protects: the order of the 68 points and the agreement of keypoints, picture and parsing map under all poses."""
    factors, rendering = drawn()
    bare = np.flatnonzero(np.asarray((factors.eyeglasses < 0.3) & (factors.narrow_eyes < 0.5)))
    points, parsing = np.asarray(rendering.keypoints), np.asarray(rendering.parsing)
    full_lips = np.asarray(jax.vmap(measure)(factors).lip) > 0.048  # thinner ones may not fill a pixel
    assert full_lips[bare].mean() > 0.25
    for index in bare:
        for name, group in (("l_eye", points[index, 36:42]), ("r_eye", points[index, 42:48])):
            x, y = pixel(group.mean(axis=0))
            assert parsing[index, y, x] == CLASS[name]
        x, y = pixel(points[index, 30])
        assert parsing[index, y, x] == CLASS["nose"]
        if full_lips[index]:
            x, y = pixel(0.5 * (points[index, 51] + points[index, 62]))
            assert parsing[index, y, x] in (CLASS["u_lip"], CLASS["mouth"])
            x, y = pixel(0.5 * (points[index, 57] + points[index, 66]))
            assert parsing[index, y, x] in (CLASS["l_lip"], CLASS["mouth"])
    chin = points[:, 8]
    assert (chin[:, 1] > points[:, 57, 1]).all() and (points[:, 0, 0] < points[:, 16, 0]).all()


@pytest.mark.slow
def test_the_jaw_points_are_on_the_outline():
    """Protects: that the drawn outline and the keypoints come from the same measures."""
    rendering = render(plain())
    skin = np.asarray(rendering.parsing) == CLASS["skin"]
    for x, y in pixel(rendering.keypoints[3:14]):
        around = skin[y - 1 : y + 2, x - 1 : x + 2]
        assert around.any() and not around.all()


@pytest.mark.parametrize(
    ("change", "rows", "columns"),
    [
        ({"smile": 1.0}, (0.32, 0.88), (0.2, 0.8)),
        ({"mouth_open": 1.0}, (0.5, 1.0), (0.1, 0.9)),
        ({"eyeglasses": 1.0}, (0.35, 0.62), (0.05, 0.95)),
        ({"narrow_eyes": 1.0}, (0.35, 0.6), (0.15, 0.85)),
        ({"beard": 1.0}, (0.37, 0.91), (0.2, 0.8)),
        ({"bangs": 1.0}, (0.06, 0.43), (0.2, 0.8)),
        ({"hat": 1.0}, (0.0, 0.5), (0.0, 1.0)),
    ],
)
def test_a_factor_changes_its_own_region_and_nothing_else(change, rows, columns):
    """Protects: exact truth of edits: an attribute's pixels are where they should be and all others are untouched."""
    difference = changed(**change)
    inside = np.zeros_like(difference, bool)
    top, bottom, left, right = (int(round(SIZE * edge)) for edge in (*rows, *columns))
    inside[top:bottom, left:right] = True
    assert difference[inside].max() > 0.3
    assert difference[~inside].max() == 0.0


def test_pose_turns_the_way_it_says():
    """Protects: the signs of yaw, pitch and roll."""
    straight = np.asarray(render(plain()).keypoints)
    turned = {
        name: np.asarray(render(plain()._replace(**{name: jnp.float32(1.0)})).keypoints) - straight
        for name in ("yaw", "pitch", "roll")
    }
    assert turned["yaw"][30, 0] > 0.05 and turned["pitch"][30, 1] > 0.05
    assert turned["roll"][8, 0] < -0.05 and turned["roll"][0, 1] < 0.0 < turned["roll"][16, 1]


def test_attributes_follow_the_factors():
    """Protects: the definition of each label, and that hair colours exclude each other."""
    base = plain()._replace(hair_lightness=jnp.float32(0.5), hair_grey=jnp.float32(0.0), hair_red=jnp.float32(0.0))

    def present(**values: float) -> set[str]:
        labels = avatars.attributes(base._replace(**{name: jnp.float32(value) for name, value in values.items()}))
        return {name for name, label in zip(ATTRIBUTES, np.asarray(labels), strict=True) if label}

    base = base._replace(gender=jnp.float32(0.0), smile=jnp.float32(0.0))
    assert present() == set()
    for name in ("gender", "age", "smile", "eyeglasses", "mouth_open", "narrow_eyes", "bangs", "beard"):
        assert present(**{name: 0.9}) == {name}
    assert present(hair_curl=0.9) == {"curly_hair"}
    assert present(hair_lightness=0.1) == {"black_hair"} and present(hair_lightness=0.9) == {"blond_hair"}
    assert present(hair_lightness=0.1, hair_grey=0.9) == {"grey_hair"}
    assert present(hair_lightness=0.9, hair_red=0.9) == set()


def test_correlations_are_those_of_the_table():
    """Protects: the documented dependences, measured on the monotone images of the normal numbers."""
    normals = jax.random.normal(jax.random.key(0), (20_000, len(LATENTS)))
    mixed = np.asarray(normals @ jnp.asarray(factors_module._MIX).T)
    assert np.abs(mixed.std(axis=0) - 1.0).max() < 0.03
    found = np.corrcoef(mixed.T)
    for child, parents in INFLUENCES.items():
        for parent, weight in parents.items():
            indirect = sum(
                other_weight * found[LATENTS.index(other), LATENTS.index(parent)]
                for other, other_weight in parents.items()
                if other != parent
            )
            assert abs(found[LATENTS.index(child), LATENTS.index(parent)] - weight - indirect) < 0.03
    assert abs(found[LATENTS.index("yaw"), LATENTS.index("age")]) < 0.03


def test_identity_goes_with_geometry_skin_and_eyes_only():
    """Protects: what is the same person and what is not."""
    first, second = (avatars.sample_factors(jax.random.key(seed)) for seed in (1, 2))
    mixed = avatars.with_identity(first, second)
    own = {"identity", "skin_tone", "skin_warmth", "eye_color"}
    for name in Factors._fields:
        source = second if name in own else first
        np.testing.assert_array_equal(getattr(mixed, name), getattr(source, name))
    assert first.identity.shape == (len(IDENTITY),)


@pytest.mark.slow
def test_any_size_shows_the_same_face():
    """Protects: that sizes differ in resolution alone."""
    factors = avatars.sample_factors(jax.random.key(3))
    small, large = (avatars.render(factors, size=size) for size in (64, 128))
    shrunk = large.image.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    assert jnp.mean(jnp.abs(shrunk - small.image)) < 0.02
    np.testing.assert_array_equal(small.keypoints, large.keypoints)
    assert (np.asarray(large.parsing)[::2, ::2] == np.asarray(small.parsing)).mean() > 0.9


def test_measures_stay_sensible_over_the_whole_range():
    """Protects: extreme identities are still faces: eyes inside the face, mouth above the chin."""
    factors, _ = drawn()
    g = jax.vmap(measure)(factors)
    assert (g.eye_x + g.eye_width < g.half_width).all()
    assert (g.mouth_y + 0.7 * g.mouth_open + 1.3 * g.lip < g.bottom).all()
    assert (g.eye_open > 0.02).all() and (g.lip > 0.01).all()


def test_latents_map_to_independent_normal_numbers():
    """Protects: that the twist keeps the normal distribution, and that only the direction of z counts."""
    z = jax.random.normal(jax.random.key(0), (20_000, latents.Z_DIM))
    numbers = np.asarray(jax.vmap(latents.normal_from_z)(z))
    assert np.abs(numbers.mean(axis=0)).max() < 0.03
    assert np.abs(np.cov(numbers.T) - np.eye(len(LATENTS))).max() < 0.04
    np.testing.assert_allclose(latents.normal_from_z(3.0 * z[0]), numbers[0], atol=1e-5)


TINY = StyleGAN2Config(
    resolution=16, z_dim=latents.Z_DIM, w_dim=128, channel_base=256, channel_max=16, mapping_layers=2
)


@pytest.mark.slow
def test_every_factor_is_linear_in_the_wanted_w():
    """Protects: that the activation at the end of the mapping network does not bend what it is fitted to."""
    factors = jax.vmap(latents.factors_from_z)(jax.random.normal(jax.random.key(0), (2000, latents.Z_DIM)))
    w = np.asarray(jax.vmap(lambda one: fitting.wanted_w(one, w_dim=128))(factors))
    assert 0.5 < np.sqrt(np.mean(w**2)) < 2.0
    design = np.concatenate([w, np.ones((len(w), 1))], axis=1)
    for values in (factors.smile, factors.hat, factors.identity[:, 3], factors.background[:, 0]):
        solution = np.linalg.lstsq(design, np.asarray(values), rcond=None)[0]
        np.testing.assert_allclose(design @ solution, values, atol=1e-3)


@pytest.mark.slow
def test_fitting_a_generator_learns_in_all_stages_and_goes_on_where_it_stopped(tmp_path):
    """Protects: the three stages, what they hand on, and that a finished stage is not taken again."""
    fit = functools.partial(
        fitting.fit_generator, jax.random.key(0), config=TINY, batch_size=4, learning_rate=0.03, directory=tmp_path
    )
    params = fit(images=320, mapping_steps=200)
    for stage in ("mapping", "shapes"):
        losses = [json.loads(row)["loss"] for row in (tmp_path / stage / "log.jsonl").read_text().splitlines()]
        assert losses[-1] < (1.5 if stage == "mapping" else 0.6), losses
    again = fit(images=320, mapping_steps=200)
    jax.tree.map(np.testing.assert_array_equal, params, again)
    w = jax.vmap(lambda z: stylegan2.map_latent(params, z, config=TINY))(
        jax.random.normal(jax.random.key(2), (2000, latents.Z_DIM))
    )
    np.testing.assert_allclose(params["mapping"]["w_avg"], w.mean(axis=0), atol=0.25)
