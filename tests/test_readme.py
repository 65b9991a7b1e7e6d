"""The README and the guides: every snippet of Python runs as it stands and saves a picture."""

import re
import shlex
from pathlib import Path

import jax
import numpy as np
import official_formats as official
import official_pickles as pickles
import pytest
from openvino_graphs import graphs, members, write_wheel
from test_weights_convert import CONFIG, pairs

from jaxedit import cli, families, images
from jaxedit.directions import ffhq
from jaxedit.generators.mobile_stylegan import MobileStyleGANConfig
from jaxedit.spaces import Direction
from weights_convert import __main__ as weights_convert

ROOT = Path(__file__).resolve().parents[1]
GUIDES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SNIPPETS = [
    pytest.param(code, id=f"{path.stem}-{number}", marks=() if path.stem == "README" else pytest.mark.slow)
    for path in GUIDES
    for number, code in enumerate(PYTHON.findall(path.read_text("utf-8")))
]


@pytest.mark.parametrize("code", SNIPPETS)
def test_snippets(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Protects: what a newcomer copies works, without strict promotion as they have it, and shows what it says."""
    monkeypatch.chdir(tmp_path)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        exec(compile(code, "snippet", "exec"), {"__name__": "snippet"})
    pictures = list(tmp_path.glob("*.png"))
    assert len(pictures) == code.count("save_png(")
    assert all(images.read_png(picture).std() > 20 for picture in pictures)


def commands(path: Path) -> list[list[str]]:
    """The commands of the shell that a document shows, a demo and installations left out."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    split = [shlex.split(line, comments=True) for line in lines]
    return [words for words in split if words and words[0] in ("jaxedit", "python")]


def test_commands_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Protects: the commands of the README in their order, on small files of the names that they mention."""
    monkeypatch.chdir(tmp_path)
    official.write_ada(Path("ffhq.pkl"), *pairs({}))
    random = np.random.default_rng(0)
    pickles.torch_save(Path("smile.pt"), pickles.Tensor(random.standard_normal((1, 20)).astype(np.float32)))
    np.save("w_plus.npy", random.standard_normal((2, CONFIG.num_ws, CONFIG.w_dim)).astype(np.float32))
    mobile = MobileStyleGANConfig(channels=(16, 8, 4), z_dim=6, w_dim=20, mapping_layers=2)
    shapes = families.abstract_params(mobile)
    params = jax.tree.map(lambda leaf: random.standard_normal(leaf.shape).astype(np.float32), shapes)
    write_wheel(Path("random_face-2021.7.21.1-py3-none-any.whl"), members(graphs(params, mobile)))
    moves = {name: random.standard_normal(20).astype(np.float32) for name in ffhq.NAMES}
    directions = tuple(Direction(name=name, space="w", vector=vector) for name, vector in moves.items())
    monkeypatch.setattr(ffhq, "load_directions", lambda: directions)  # the published ones are for 512 numbers
    shown = commands(ROOT / "README.md")
    assert len(shown) >= 6
    for program, *arguments in shown:
        if program == "python":
            assert arguments[:2] == ["-m", "weights_convert"] and weights_convert.main(arguments[2:]) == 0, arguments
        else:
            assert cli.main(arguments) == 0, arguments
    assert {path.parent.name for path in tmp_path.glob("*/grid.png")} == {"eyeglasses", "seeds", "smile", "faces"}
