"""Folders that one run at a time writes to: a folder that is replaced is whole, old or new, whatever stops the run."""

from pathlib import Path

import pytest

from jaxedit import claims


def make(path: Path, content: str, *, replace: bool = False) -> None:
    with claims.making(path, replace=replace) as folder:
        (folder / "file").write_text(content)


def test_a_folder_is_replaced_only_when_asked(tmp_path: Path):
    """Protects: what is there; and nothing else stays beside the new one."""
    make(tmp_path / "network", "old")
    with pytest.raises(OSError):
        make(tmp_path / "network", "new")
    assert (tmp_path / "network" / "file").read_text() == "old"
    make(tmp_path / "network", "new", replace=True)
    assert (tmp_path / "network" / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["network"]


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()])
@pytest.mark.parametrize("renames", range(3))
def test_the_old_folder_stays_if_the_new_one_fails(error: BaseException, renames: int, tmp_path: Path, monkeypatch):
    """Protects: a trained network whose successor can't be written; the failure comes before the first rename, between
    the two, or while the new one is filled."""
    make(tmp_path / "network", "old")
    done, rename = [], Path.rename

    def failing(path: Path, target: Path) -> Path:
        if len(done) == renames:
            done.append(path)
            raise error
        done.append(path)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(type(error)):
        with claims.making(tmp_path / "network", replace=True) as folder:
            (folder / "file").write_text("new")
            if renames == 2:
                raise error
    assert (tmp_path / "network" / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["network"]


def test_a_kill_between_the_renames_loses_nothing(tmp_path: Path):
    """Protects: the old network, which the next run brings back before it does anything."""
    make(tmp_path / "network", "old")
    (tmp_path / "network").rename(tmp_path / ".network.old")
    (tmp_path / ".network.partial").mkdir()
    with pytest.raises(OSError, match="full"):
        with claims.making(tmp_path / "network", replace=True):
            raise OSError("full")
    assert (tmp_path / "network" / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["network"]
