"""The README and the guides: every snippet of Python runs as it stands and saves a picture."""

import re
from pathlib import Path

import jax
import pytest

from jaxedit import images

ROOT = Path(__file__).resolve().parents[1]
GUIDES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SNIPPETS = [
    pytest.param(code, id=f"{path.stem}-{number}")
    for path in GUIDES
    for number, code in enumerate(PYTHON.findall(path.read_text("utf-8")))
]


@pytest.mark.parametrize("code", SNIPPETS)
def test_snippets(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Protects: what a newcomer copies works, without strict promotion as they have it, and shows something."""
    monkeypatch.chdir(tmp_path)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        exec(compile(code, "snippet", "exec"), {"__name__": "snippet"})
    (picture,) = tmp_path.glob("*.png")
    assert images.read_png(picture).std() > 20
