"""The networks of face-api against float64 references, and with the published weights against its own numbers."""

import csv
import functools
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from oracles import f64
from PIL import Image

from jaxedit import checkpoints
from jaxedit.networks import age_gender, face_detector, face_expressions, face_landmarks, face_recognition
from jaxedit.networks.face_crops import FFHQ_BOX, box_crop, chip_of, place_points
from weights_convert import convert
from weights_convert.tables import TABLES

BUDGET = 2e-5  # of the largest value

SMALL: dict[str, tuple[Any, Any, Any]] = {
    "landmarks": (face_landmarks, face_landmarks.locate, face_landmarks.FaceLandmarksConfig(15, (4, 6), 5)),
    "expressions": (face_expressions, face_expressions.classify, face_expressions.FaceExpressionsConfig(16, (4, 6))),
    "age_gender": (age_gender, age_gender.estimate, age_gender.AgeGenderConfig(19, (4, 6, 8, 5), 2)),
    "recognition": (
        face_recognition,
        face_recognition.embed,
        face_recognition.FaceRecognitionConfig(39, 4, (1, 2), 7),
    ),
    "detector": (
        face_detector,
        face_detector.detect,
        face_detector.FaceDetectorConfig(17, (4, 6, 8), ((1.5, 2.0), (0.5, 0.7))),
    ),
}


def normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def image_of(name: str, seed: int = 0) -> jax.Array:
    side = SMALL[name][2].resolution
    return jnp.clip(0.4 * normal(seed, side, side, 3), -1, 1)


@functools.cache
def params_of(name: str) -> Any:
    """Parameters of which none is 0 or 1, so that all act."""
    module, _, config = SMALL[name]
    shapes: Any = jax.eval_shape(functools.partial(module.init, config=config), jax.random.key(0))
    leaves: dict[Any, Any] = dict(flax.traverse_util.flatten_dict(shapes))
    flat, rng = {}, np.random.default_rng(3)
    for path, leaf in leaves.items():
        fan = 9 if path[-1] == "depthwise" else np.prod(leaf.shape[:-1])
        flat[path] = rng.standard_normal(leaf.shape) * (2 / max(fan, 1)) ** 0.5
        if len(leaf.shape) == 1:
            flat[path] = rng.uniform(0.5, 1.5, leaf.shape) if path[-1] == "scale" else flat[path] * 0.2
    return flax.traverse_util.unflatten_dict({path: jnp.asarray(x, jnp.float32) for path, x in flat.items()})


# References: the official networks written down once more, on parameters under their dotted names.


class Reference:
    def __init__(self, params: Any):
        flat: Any = flax.traverse_util.flatten_dict(params["params"])
        self.values = {".".join(path): f64(leaf) for path, leaf in flat.items()}

    def dense(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self.values[f"{name}.kernel"] + self.values.get(f"{name}.bias", 0)

    def conv(self, name: str, x: np.ndarray, stride: int = 1, *, padded: bool = True) -> np.ndarray:
        return correlated(x, self.values[f"{name}.kernel"], stride, padded) + self.values[f"{name}.bias"]

    def separable(self, name: str, x: np.ndarray, stride: int = 1) -> np.ndarray:
        depthwise = self.values[f"{name}.depthwise"]
        x = correlated(x, depthwise[..., None] * np.eye(depthwise.shape[-1]), stride, True)
        return x @ self.values[f"{name}.pointwise"] + self.values[f"{name}.bias"]

    def scaled(self, name: str, x: np.ndarray, stride: int = 1) -> np.ndarray:
        x = self.conv(f"{name}.conv", x, stride, padded=stride == 1)
        return x * self.values[f"{name}.scale.scale"] + self.values[f"{name}.scale.bias"]


def same(size: int, taps: int, stride: int) -> tuple[int, int]:
    """TensorFlow's padding of that name."""
    total = max((-(-size // stride) - 1) * stride + taps - size, 0)
    return total // 2, total - total // 2


def correlated(x: np.ndarray, kernel: np.ndarray, stride: int, padded: bool) -> np.ndarray:
    padding = [same(n, k, stride) if padded else (0, 0) for n, k in zip(x.shape[:2], kernel.shape[:2], strict=True)]
    return oracles.conv2d(x, kernel, padding=(padding[0], padding[1]), stride=stride)


def pooled(x: np.ndarray, size: int, stride: int, reduce: Any, *, padded: bool = False) -> np.ndarray:
    around = [same(n, size, stride) if padded else (0, 0) for n in x.shape[:2]]
    x = np.pad(x, (*around, (0, 0)), constant_values=-np.inf)
    rows, columns = ((n - size) // stride + 1 for n in x.shape[:2])
    out = np.empty((rows, columns, x.shape[2]))
    for row in range(rows):
        for column in range(columns):
            window = x[stride * row : stride * row + size, stride * column : stride * column + size]
            out[row, column] = reduce(window, axis=(0, 1))
    return out


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def standard(image: Any, mean: tuple[float, ...] = (122.782, 117.001, 104.298)) -> np.ndarray:
    return ((f64(image) + 1) * 127.5 - np.array(mean)) / 255


def trunk(reference: Reference, image: Any) -> np.ndarray:
    x = standard(image)
    for block in range(2):
        name = f"dense{block}"
        one = relu(reference.separable(f"{name}.conv0", x, 2) if block else reference.conv(f"{name}.conv0", x, 2))
        two = reference.separable(f"{name}.conv1", one)
        three = reference.separable(f"{name}.conv2", relu(one + two))
        four = reference.separable(f"{name}.conv3", relu(one + two + three))
        x = relu(one + two + three + four)
    return reference.dense("fc", x.mean(axis=(0, 1)))


def reference_landmarks(reference: Reference, image: Any) -> np.ndarray:
    return 2 * trunk(reference, image).reshape(-1, 2) - 1


def reduced(reference: Reference, name: str, x: np.ndarray, start: np.ndarray) -> np.ndarray:
    y = relu(reference.separable(f"{name}.separable_conv0", start))
    y = pooled(reference.separable(f"{name}.separable_conv1", y), 3, 2, np.max, padded=True)
    return y + reference.conv(f"{name}.expansion_conv", x, 2)


def reference_age_gender(reference: Reference, image: Any) -> tuple[np.ndarray, np.ndarray]:
    x = relu(reference.conv("conv_in", standard(image), 2))
    x = reduced(reference, "reduction_block_0", x, x)
    for block in range(2):
        y = x
        for part in range(3):
            y = reference.separable(f"main_block_{block}.separable_conv{part}", relu(y))
        x = x + y
    x = reduced(reference, "reduction_block_1", x, relu(x))
    features = relu(reference.separable("separable_conv", x)).mean(axis=(0, 1))
    gender = reference.dense("gender", features)
    return reference.dense("age", features)[0], gender[1] - gender[0]


def reference_recognition(reference: Reference, image: Any) -> np.ndarray:
    x = pooled(relu(reference.scaled("conv4_down", standard(image), 2)), 3, 2, np.max)
    for name in ("conv4_1", "conv8_down", "conv8_1", "conv8_2", "conv8_down_out"):
        down = "down" in name
        y = reference.scaled(f"{name}.conv2", relu(reference.scaled(f"{name}.conv1", x, 2 if down else 1)))
        if down:
            x = pooled(x, 2, 2, np.mean)
            whole = np.zeros((*x.shape[:2], y.shape[2]))
            whole[: y.shape[0], : y.shape[1]] += y
            whole[..., : x.shape[2]] += x
            x = relu(whole)
        else:
            x = relu(x + y)
    return reference.dense("fc", x.mean(axis=(0, 1)))


def reference_detector(reference: Reference, image: Any) -> tuple[np.ndarray, np.ndarray]:
    x = standard(image, (117.001, 114.697, 97.404))
    for index in range(3):
        x = reference.separable(f"conv{index}", x) if index else reference.conv("conv0", x, padded=False)
        x = pooled(np.maximum(x, 0.1 * x), 2, 1 if index == 2 else 2, np.max, padded=True)
    x = reference.conv("out", x)
    boxes, scores, cells = [], [], len(x)
    for row, column, anchor in np.ndindex(cells, cells, 2):
        right, down, wide, high, score = x[row, column, 5 * anchor : 5 * anchor + 5]
        width, height = np.exp([wide, high]) * SMALL["detector"][2].anchors[anchor] / cells
        left, top = (column + 1 / (1 + np.exp(-right))) / cells, (row + 1 / (1 + np.exp(-down))) / cells
        corners = np.array([left - width / 2, top - height / 2, left + width / 2, top + height / 2])
        boxes.append(2 * corners - 1)
        scores.append(1 / (1 + np.exp(-score)))
    return np.array(boxes), np.array(scores)


REFERENCES = {
    "landmarks": reference_landmarks,
    "expressions": trunk,
    "age_gender": reference_age_gender,
    "recognition": reference_recognition,
    "detector": reference_detector,
}


@pytest.mark.parametrize("name", SMALL)
def test_networks_equal_their_references(name):
    """Protects: every layer, its padding at even and odd sizes, its place in the tree, and the units of images."""
    _, function, config = SMALL[name]
    found = function(params_of(name), image_of(name), config=config)
    expected = REFERENCES[name](Reference(params_of(name)), image_of(name))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert one.shape == np.shape(other)
        assert np.abs(f64(one) - other).max() <= BUDGET * max(np.abs(other).max(), 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_batches_and_derivatives(name):
    """Protects: samples that know nothing of each other; finite derivatives that reach every parameter."""
    _, function, config = SMALL[name]
    run = functools.partial(function, config=config)
    images = jnp.stack([image_of(name, seed) for seed in range(2)])
    together = jax.jit(jax.vmap(run, in_axes=(None, 0)))(params_of(name), images)
    for index in range(2):
        alone = run(params_of(name), images[index])
        jax.tree.map(lambda a, b, k=index: np.testing.assert_allclose(a[k], b, atol=1e-5), together, alone)

    def total(params, image):
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(run(params, image)))

    for leaf in jax.tree.leaves(jax.jit(jax.grad(total, (0, 1)))(params_of(name), images[0])):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0


def test_the_best_box_has_the_highest_score():
    """Protects: the choice among boxes."""
    detections = face_detector.Detections(normal(0, 6, 4), jnp.array([0.1, 0.3, 0.2, 0.9, 0.8, 0.4]))
    np.testing.assert_array_equal(face_detector.best_box(detections), detections.boxes[3])


@pytest.mark.parametrize(
    ("config", "options"),
    [
        (face_landmarks.FaceLandmarksConfig, {"points": 0}),
        (face_landmarks.FaceLandmarksConfig, {"widths": ()}),
        (face_expressions.FaceExpressionsConfig, {"resolution": 0}),
        (age_gender.AgeGenderConfig, {"widths": (4, 4)}),
        (age_gender.AgeGenderConfig, {"main_blocks": 1 << 20}),
        (face_recognition.FaceRecognitionConfig, {"resolution": 102}),
        (face_recognition.FaceRecognitionConfig, {"blocks": (1,) * 40}),
        (face_detector.FaceDetectorConfig, {"anchors": ()}),
    ],
)
def test_impossible_architectures_are_refused(config, options):
    """Protects: damaged files are told at once; the smallest image of the recognition network leaves one pixel."""
    config()
    with pytest.raises(ValueError, match="would be right"):
        config(**options)


NAMES = {
    "face_recognition": 1 + 4 * (1 + 2 * (3 + 4 + 3 + 3 + 1)),
    "face_landmarks": 2 + 3 * 15 + 2,
    "face_expressions": 2 + 3 * 15 + 2,
    "age_gender": 2 + 3 * 8 + 3 * 6 + 3 + 4,
    "face_detector": 2 + 3 * 5 + 2,
}


@pytest.mark.parametrize(("family", "count"), NAMES.items())
def test_tables_name_every_leaf(family, count):
    """Protects: converters of the published architectures: each leaf once, by as many names as the manifests have."""
    found = checkpoints.FAMILIES[family]
    config = found.config()
    shapes: Any = jax.eval_shape(functools.partial(found.init, config=config), jax.random.key(0))
    rows = list(TABLES[family].rows(config))
    assert sorted(row.leaf for row in rows) == sorted(flax.traverse_util.flatten_dict(shapes, sep="/"))
    assert len({row.tfjs for row in rows}) == len(rows) == count


# With the published weights.


@pytest.fixture(scope="module")
def published(tmp_path_factory, fixtures) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("face_api")
    convert(fixtures / "face_api", folder / "out")
    return {path.name: checkpoints.load_network(path) for path in (folder / "out").iterdir()}


def image_from(fixtures: Path, index: int) -> jax.Array:
    """A generated face of FFHQ's kind."""
    with Image.open(fixtures / "omi" / "images_256" / f"{index:04}.jpg") as file:
        return jnp.asarray(np.asarray(file.convert("RGB"), np.float32) / 127.5 - 1)


@pytest.fixture(scope="module")
def judged(published, fixtures) -> dict[int, Any]:
    """What the networks say of some faces: landmarks, logits of the expressions, age and gender."""

    def judge(networks, image):
        crop = box_crop(image, jnp.array(FFHQ_BOX))
        landmarks, expressions = networks["face_landmarks"](crop), networks["face_expressions"](crop)
        return landmarks, expressions, *networks["age_gender"](crop)

    indices = [*range(1, 41), 200]
    found = jax.jit(jax.vmap(judge, (None, 0)))(published, jnp.stack([image_from(fixtures, k) for k in indices]))
    return {index: jax.tree.map(lambda leaf, k=k: f64(leaf[k]), found) for k, index in enumerate(indices)}


# What face-api.js (`@vladmandic/face-api` 1.7.15, TensorFlow.js on the CPU) says of the same crops: landmarks 8, 30,
# 36, 45, 48 and 54 in pixels of the crop, logits of the expressions, the age, and the logits' difference.
OFFICIAL = {
    1: (
        [[55.17, 99.12], [55.52, 54.52], [30.6, 28.4], [80.04, 29.57], [40.9, 71.36], [69.86, 72.14]],
        [3.06, -4.64, -0.65, -2.32, -13.43, -5.89, -6.82],
        50.53,
        -4.62,
    ),
    5: (
        [[55.76, 100.91], [62.18, 53.7], [29.02, 30.56], [80.85, 28.88], [34.81, 67.67], [74.72, 66.07]],
        [-8.48, 20.41, -15.12, -5.89, -18.65, -6.65, -15.26],
        49.55,
        2.36,
    ),
    200: (
        [[54.61, 93.22], [56.47, 45.49], [29.23, 29.3], [80.99, 30.64], [39.37, 67.79], [71.38, 68.72]],
        [6.53, -1.57, -7.47, -6.21, -21.4, -10.24, -15.59],
        43.69,
        -3.3,
    ),
}


@pytest.mark.parametrize("index", OFFICIAL)
def test_published_weights_say_what_face_api_says(index, judged):
    """Protects: the three networks whose weights are public here, in the official units (decoders of JPEG may differ
    by a level)."""
    (landmarks, expressions, age, gender), expected = judged[index], OFFICIAL[index]
    found = (landmarks[[8, 30, 36, 45, 48, 54]] + 1) * 56
    for one, other in zip((found, expressions, age, gender), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=0.1)


def test_published_weights_agree_with_people(judged, fixtures):
    """Protects: age, gender and happiness mean what they are called, and faces of FFHQ's kind lie in `FFHQ_BOX`."""
    with (fixtures / "omi" / "attribute_means.csv").open() as file:
        rated = {int(row["stimulus"]): row for row in csv.DictReader(file)}
    happy = face_expressions.EXPRESSIONS.index("happy")
    for name, least, score in (
        ("age", 0.9, lambda face: face[2]),
        ("gender", 0.85, lambda face: -face[3]),
        ("happy", 0.75, lambda face: face[1][happy] - np.log(np.exp(np.delete(face[1], happy)).sum())),
    ):
        pairs = [(score(face), float(rated[index][name])) for index, face in judged.items()]
        assert np.corrcoef(np.array(pairs).T)[0, 1] > least, name


@pytest.mark.slow
def test_published_landmarks_align_a_face(published, judged, fixtures):
    """Protects: the way from a box over landmarks to the chip: the eyes lie where dlib's template has them."""
    points = place_points(jnp.asarray(judged[5][0], jnp.float32), jnp.array(FFHQ_BOX), height=256, width=256)
    chip = chip_of(image_from(fixtures, 5), points)
    again = f64(published["face_landmarks"](box_crop(chip, jnp.array([-1.0, -1.0, 1.0, 1.0]))))
    corners = 2 * (np.array([[0.1206, 0.2137], [0.3341, 0.2291], [0.6461, 0.2290], [0.8596, 0.2135]]) + 0.25) / 1.5 - 1
    np.testing.assert_allclose(again[[36, 39, 42, 45]], corners, atol=0.06)
