"""Data in domains, and `jaxedit train-l2m-gan`."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxedit import avatars, checkpoints, cli, datasets


def test_combinations_of_attributes_are_domains():
    """Protects: bit i of a domain's number is attribute i."""
    names = datasets.combinations(["a", "b", "c"])
    assert names == ("plain", "a", "b", "a+b", "c", "a+c", "b+c", "a+b+c")


@pytest.mark.slow
def test_avatars_come_in_all_domains_alike():
    """Protects: as many images of each domain, which are what they are said to be; a step has one
    batch."""
    domains = datasets.avatars_by_domain(["smile", "Eyeglasses"], size=64, batch_size=8, seed=3)
    assert domains.names == ("plain", "smile", "eyeglasses", "smile+eyeglasses")
    found, again, other = domains.batch(5), domains.batch(5), domains.batch(6)
    np.testing.assert_array_equal(found.images, again.images)
    assert np.abs(np.asarray(found.images) - np.asarray(other.images)).max() > 0.1
    np.testing.assert_array_equal(np.bincount(found.domains, minlength=4), [2, 2, 2, 2])
    classifier, places = avatars.load_classifier(), [avatars.ATTRIBUTES.index(name) for name in ("smile", "eyeglasses")]
    seen = np.array([np.asarray(classifier(image))[places] > 0 for image in found.images])
    assert np.mean(seen == (np.asarray(found.domains)[:, None] >> np.arange(2)) % 2) > 0.8
    assert set(np.asarray(found.targets)) <= {0, 1, 2, 3}
    with pytest.raises(ValueError, match="a multiple of the 4 domains"):
        datasets.avatars_by_domain(["smile", "eyeglasses"], size=64, batch_size=6, seed=0)
    with pytest.raises(ValueError, match="there is no attribute 'smirk'"):
        datasets.avatars_by_domain(["smirk"], size=64, batch_size=6, seed=0)


def folder(path: Path, count: int = 3) -> Path:
    for name, level in (("b10", 200), ("b9", 40)):
        (path / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(np.full((70, 66, 3), level + number, np.uint8)).save(path / name / f"{number}.png")
    return path


def test_folders_are_domains(tmp_path: Path):
    """Protects: folders in natural order, each with its share of a batch; one alone is refused."""
    domains = datasets.folder_of_domains(folder(tmp_path / "data"), size=64, batch_size=4, seed=0)
    assert domains.names == ("b9", "b10")
    found = domains.batch(0)
    np.testing.assert_array_equal(found.domains, [0, 0, 1, 1])
    levels = 127.5 * (np.asarray(found.images)[:, 0, 0, 0] + 1)
    assert np.all(levels[:2] < 50) and np.all(levels[2:] > 190)
    targets = np.concatenate([domains.batch(step).targets for step in range(8)])
    assert 0 < targets.mean() < 1 and found.targets.dtype == np.int32
    with pytest.raises(ValueError, match="1 folders of images"):
        (tmp_path / "one" / "a").mkdir(parents=True)
        datasets.folder_of_domains(tmp_path / "one", size=64, batch_size=4, seed=0)


@pytest.mark.slow
def test_a_training_goes_on_without_a_seam(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: three steps, then three more, are six; checkpoints that load; another training is refused."""
    small = ["train-l2m-gan", "--resolution", "64", "--width", "4", "--max-width", "8", "--snapshot-steps", "3"]
    small += ["--data", str(folder(tmp_path / "data", 5)), "--batch-size", "8"]
    assert cli.main([*small, "--steps", "6", "--output", str(tmp_path / "whole")]) == 0
    assert cli.main([*small, "--steps", "3", "--output", str(tmp_path / "parts")]) == 0
    assert cli.main([*small, "--steps", "6", "--output", str(tmp_path / "parts")]) == 0
    prints = [checkpoints.read_description(tmp_path / name / "generator").sha256 for name in ("whole", "parts")]
    assert prints[0] == prints[1]
    assert {path.name for path in (tmp_path / "whole" / "pictures").iterdir()} == {"000000024.png", "000000048.png"}
    assert checkpoints.load_network(tmp_path / "whole" / "style_encoder").config.domains == 2
    capsys.readouterr()
    assert cli.main([*small, "--steps", "6", "--output", str(tmp_path / "whole"), "--lambda-cyc", "3"]) == 1
    assert "holds another training" in capsys.readouterr().err
