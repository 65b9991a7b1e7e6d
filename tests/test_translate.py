"""`jaxedit translate`: photos of all kinds through untrained networks, against the library's functions."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from untrained import untrained

from jaxedit import checkpoints, cli, images, l2m_gan
from jaxedit.networks.fan import FANConfig
from jaxedit.networks.l2m_generator import L2MGeneratorConfig
from jaxedit.networks.l2m_style_encoder import L2MStyleEncoderConfig

SIZE = 64
NAMES = ["plain", "smiling"]


def save(folder: Path, *, w_hpf: float = 0.0, layers: int = 3, names: Any = NAMES, size: int = SIZE) -> Path:
    configs = {
        "generator": L2MGeneratorConfig(SIZE, 4, 8, style_dim=6, w_hpf=w_hpf),
        "style_encoder": L2MStyleEncoderConfig(size, 4, 8, style_dim=6, domains=2, transform_layers=layers),
    }
    for name, config in configs.items():
        known = {"source": "tests"} | ({} if names is None else {"domains": names})
        checkpoints.save(folder / name, params=untrained(config), config=config, metadata=known)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("model"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Of several sizes and kinds, one lying on its side, one in a folder that is named as a domain."""
    folder, random = tmp_path / "photos", np.random.default_rng(0)
    (folder / "smiling").mkdir(parents=True)

    def picture(height: int, width: int) -> Image.Image:
        rough = random.integers(0, 256, (height // 8, width // 8, 3)).astype(np.uint8)
        return Image.fromarray(rough).resize((width, height))

    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn to the right makes it upright
    picture(64, 64).save(folder / "a.png")
    picture(80, 120).save(folder / "b.webp", lossless=True)
    picture(64, 64).save(folder / "smiling" / "c.png", exif=exif)
    return folder


def expected(model: Path, photo: np.ndarray, source: int, target: int, strength: float) -> np.ndarray:
    generator, encoder = (checkpoints.load_network(model / name) for name in ("generator", "style_encoder"))

    @jax.jit
    def draw(image, source, target, strength):
        s = encoder(images.from_uint8(image), source)
        style = l2m_gan.edited_style(encoder.params, s, target, strength=strength)
        return images.to_uint8(generator(images.from_uint8(image), style))

    return np.asarray(draw(photo, source, target, jnp.float32(strength)))


def test_photos_are_translated(model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: sizes, EXIF, domains of folders, strengths; numbers are the library's; a run goes on."""
    output = tmp_path / "out"
    given = ["translate", str(model), str(photos), "--output", str(output), "--to", "smiling", "plain", "--grid"]
    assert cli.main([*given, "--strengths", "0", "1.25"]) == 1
    assert "a.png: of which domain? Give --source (plain, smiling)" in capsys.readouterr().err and not output.exists()
    (photos / "plain").mkdir()
    for name in ("a.png", "b.webp"):
        (photos / name).rename(photos / "plain" / name)
    assert cli.main([*given, "--strengths", "0", "1.25"]) == 0
    ways = ("smiling+0", "smiling+1.25", "plain+0", "plain+1.25")
    wanted = {f"{photo}_{way}.png" for photo in ("plain_a", "plain_b", "smiling_c") for way in ways}
    assert {path.name for path in output.glob("*_*.png")} == wanted
    turned = np.rot90(np.asarray(Image.open(photos / "smiling" / "c.png")), -1)
    for name, photo, source in (("plain_a", images.read_png(photos / "plain" / "a.png"), 0), ("smiling_c", turned, 1)):
        for target, domain in enumerate(NAMES):
            for strength in (0.0, 1.25):
                found = images.read_png(output / f"{name}_{domain}{strength:+g}.png").astype(int)
                assert np.abs(found - expected(model, photo, source, target, strength)).max() <= 1
    own, same = (images.read_png(output / f"plain_a_{domain}+0.png") for domain in NAMES)
    np.testing.assert_array_equal(own, same)  # the photo's own style
    again = output / "plain_b_plain+1.25.png"
    kept = again.read_bytes()
    again.unlink()
    capsys.readouterr()
    assert cli.main([*given, "--strengths", "0", "1.25", "--existing", "skip"]) == 0
    assert "1 pictures written, 11 kept" in capsys.readouterr().out and again.read_bytes() == kept
    assert cli.main([*given, "--source", "plain", "--existing", "skip"]) == 1
    assert "made with another source" in capsys.readouterr().err


@pytest.mark.slow
def test_photos_become_like_references(model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: Eq. 10 by the reference's head; the encoder of StarGAN v2, which has a reference's style whole."""
    output = tmp_path / "out"
    given = ["translate", str(model), str(photos / "a.png"), "--reference", str(photos / "smiling")]
    assert cli.main([*given, "--output", str(output)]) == 0
    (found,) = output.glob("*.png")
    assert found.name == "a_c+1.png"
    generator, encoder = (checkpoints.load_network(model / name) for name in ("generator", "style_encoder"))
    turned = np.rot90(np.asarray(Image.open(photos / "smiling" / "c.png")), -1).copy()
    photo, other = (images.from_uint8(jnp.asarray(one)) for one in (images.read_png(photos / "a.png"), turned))

    @jax.jit
    def draw(photo, other):
        return images.to_uint8(
            generator(photo, l2m_gan.reference_style(encoder.params, encoder(photo, 1), encoder(other, 1)))
        )

    wanted = draw(photo, other)
    assert np.abs(images.read_png(found).astype(int) - np.asarray(wanted)).max() <= 1
    older = save(tmp_path / "stargan", layers=0, names=None)
    assert cli.main([given[0], str(older), *given[2:], "--to", "1", "--output", str(tmp_path / "older")]) == 0
    assert (tmp_path / "older" / "a_c+1.png").exists()
    assert cli.main([given[0], str(older), given[2], "--to", "1", "--source", "0", "--output", "x"]) == 1
    assert "a style encoder of StarGAN v2, which takes --reference" in capsys.readouterr().err


@pytest.mark.slow
def test_details_pass_through_masks(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: a generator with high-pass skips, which asks for its FAN."""
    model = save(tmp_path / "model", w_hpf=1.0)
    given = ["translate", str(model), str(photos), "--to", "smiling", "--source", "plain"]
    assert cli.main([*given, "--output", str(tmp_path / "out")]) == 1
    assert f"{model / 'fan'}: missing" in capsys.readouterr().err
    config = FANConfig()
    checkpoints.save(model / "fan", params=untrained(config), config=config, metadata={"source": "tests"})
    assert cli.main([*given, "--output", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "nothing to do: give --to (plain, smiling) or --reference"),
        (["--to", "smirking"], "there is no domain 'smirking'"),
        (["--to", "plain", "--strengths", "nan"], "--strengths takes finite numbers"),
        (["--to", "plain", "--strengths", "1", "1.0000001"], "two are the same"),
        (["--to", "plain", "smiling", "--reference", "."], "--reference goes with one domain"),
        (["--to", "plain", "--source", "happy"], "there is no domain 'happy'"),
        (["--to", "plain", "--source", "smiling", "--batch-size", "0"], "batch"),
    ],
)
def test_what_does_not_fit_is_said(
    given: list[str], message: str, model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Protects: one line before anything is compiled or written."""
    assert cli.main(["translate", str(model), str(photos), "--output", str(tmp_path / "out"), *given]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_damaged_photos_and_other_models(model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: files of strangers: photos, names of domains, networks that do not belong together."""
    output = str(tmp_path / "out")

    def refused(folder: Path, pictures: Path, message: str) -> None:
        given = ["--to", "plain", "--source", "plain", "--output", output]
        assert cli.main(["translate", str(folder), str(pictures), *given]) == 1
        assert message in capsys.readouterr().err and not Path(output).exists()

    refused(save(tmp_path / "names", names=["../up", "x"]), photos, "no proper names")
    refused(save(tmp_path / "few", names=["one"]), photos, "no proper names")
    refused(save(tmp_path / "sizes", size=128), photos, "differ in resolution, 64 and 128")
    (tmp_path / "sizes" / "generator").rename(tmp_path / "sizes" / "old")
    (tmp_path / "sizes" / "style_encoder").rename(tmp_path / "sizes" / "generator")
    refused(tmp_path / "sizes", photos, "a network of another kind; L2MGenerator would be right")
    Image.new("RGB", (64, 64)).save(photos / "a.jpg")
    refused(model, photos, "several pictures would be called alike (a)")
    (photos / "a.jpg").write_bytes(b"no picture")
    refused(model, photos, "a.jpg")
    refused(model, tmp_path / "nowhere", "nowhere")
