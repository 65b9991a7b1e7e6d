"""jaxedit.cli.labels: every form of labels that people have, which latent each belongs to, and what is refused."""

import re
from pathlib import Path

import numpy as np
import pytest

from jaxedit.cli.labels import read_labels
from jaxedit.cli.latents import StoredLatents


def read(
    path: Path,
    content: str | bytes,
    *names: str,
    counts: list[int] | None = None,
    scores: bool = False,
    attribute: str | None = None,
) -> list[float]:
    """The labels in a file, for latents in files of these names."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    stored = [StoredLatents(name, Path(name).stem, name, np.zeros(1)) for name in names]
    counts = counts or [1] * len(names)
    return read_labels(path, stored, counts, scores=scores, attribute=attribute).tolist()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "a b.npy,1\nc,0\nd.npy,1\n"),
        ("a.csv", b"\xef\xbb\xbfa b.npy,1\r\nc,0\r\nd.npy,1\r\n"),
        ("a.csv", '"a b.npy","1"\n"c","0"\n\n"d.npy","1"\n'),
        ("a.csv", "name,label\nd.npy, 1\nc, 0\na b.npy, 1\n"),
        ("a.csv", '"name, of a file";label\nc;0\na b.npy;1\nd;1\n'),
        ("A.CSV", "a b.npy\t1\nc.npy\t0\nd.npy\t1\n"),
        ("a.csv", "image,Smiling\na b.png,1\nsome/folder/c.png,0\nd.png,1\n"),
        ("a.txt", "a b.npy 1\nc.npy 0\nd.npy 1\n"),
        ("a.txt", b"\xef\xbb\xbfc.npy  0 \r\n\r\n a b.npy\t1\r\nd, 1;\r\n"),
        ("labels", "file label\na b, 1\nc, 0\nd, 1\n"),
        ("a.txt", "1\n0\n1\n"),
        ("a.txt", "label\n1\n0\n1"),
        ("a.csv", "label\n1\n0\n1"),
        ("a.txt", "1.000000000000000000e+00\n0.000000000000000000e+00\n1e0\n"),
        ("a.txt", "1\n-1\n1\n"),
        ("a.txt", "+1.0\n-1.0\n1\n"),
        ("a.txt", "yes\nNo\nYES\n"),
        ("a.csv", "name,smiling\na b,True\nc,False\nd,TRUE\n"),
    ],
)
def test_forms_of_labels(tmp_path: Path, name: str, content: str | bytes):
    """Protects: CSV as CSV, names with blanks, byte order marks, line ends, headers, and words for 0 and 1."""
    assert read(tmp_path / name, content, "a b.npy", "c.npy", "d.npy") == [1, 0, 1]


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (np.int64, [1, 0, 1]),
        (bool, [1, 0, 1]),
        (np.float32, [1, 0, 1]),
        (np.int8, [1, -1, 1]),
        (np.float64, [1, -1, 1]),
    ],
)
def test_arrays_of_labels(tmp_path: Path, dtype: type, values: list[int]):
    """Protects: `.npy` files of any type and of a column, in the latents' order; -1 is the other class there, too."""
    for shape in ((3,), (3, 1)):
        np.save(tmp_path / "a.npy", np.array(values, dtype).reshape(shape))
        assert read(tmp_path / "a.npy", (tmp_path / "a.npy").read_bytes(), "x.npy", counts=[3]) == [1, 0, 1]


def test_scores_keep_their_scale(tmp_path: Path):
    """Protects: -1 and 1 are scores like others where the highest and the lowest are chosen."""
    names = ("a.npy", "b.npy", "c.npy")
    assert read(tmp_path / "a.txt", "-1\n1\n0.25\n", *names, scores=True) == [-1, 1, 0.25]
    assert read(tmp_path / "a.csv", "name,score\nc,1e3\na,-1\nb,-2.5", *names, scores=True) == [-1, -2.5, 1000]
    with pytest.raises(ValueError, match=r"a.txt, line 2: 'high' is no finite number"):
        read(tmp_path / "a.txt", "1\nhigh\n3\n", *names, scores=True)


# Which latent.


def test_names_with_dots_are_told_apart(tmp_path: Path):
    """Protects: the full name comes first, then the name without ending; a.b is not a."""
    names = ("a.npy", "a.b.npy", "a.c.npy")
    assert read(tmp_path / "a.txt", "a.b 1\na.c 0\na 0\n", *names) == [0, 1, 0]
    assert read(tmp_path / "a.txt", "a.c.npy 1\na.b.npy 0\na.npy 0\n", *names) == [0, 0, 1]
    assert read(tmp_path / "a.txt", "a.c.png 1\na.b.png 1\na.png 0\n", *names) == [0, 1, 1]
    assert read(tmp_path / "a.txt", "x/a.b.npy 1\nx/a.c.npy 0\nx/a 0\n", *names) == [0, 1, 0]
    with pytest.raises(ValueError, match="no label for 2 of 3 latents: a.b.npy, a.c.npy$"):
        read(tmp_path / "a.txt", "a 1\n", *names)


def test_doubtful_names_are_refused(tmp_path: Path):
    """Protects: no label is given to one of several latents, or taken from one of several labels, at random."""
    with pytest.raises(ValueError, match=r"a.txt, line 1: 'a' may be 'a.npy' and 'a.npz'"):
        read(tmp_path / "a.txt", "a 1\nb 0\n", "a.npy", "a.npz", "b.npy")
    for first, second in (("a", "a"), ("a.png", "a.jpg"), ("x/a", "y/a")):
        content = f"name,label\n{first},1\nb,0\n{second},{{}}\n"
        with pytest.raises(ValueError, match=r"a.csv, line 2 and line 4: different labels for 'a.npy'"):
            read(tmp_path / "a.csv", content.format(0), "a.npy", "b.npy")
        assert read(tmp_path / "a.csv", content.format(1), "a.npy", "b.npy") == [1, 0]


def test_names_that_do_not_match_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Protects: a folder and labels of two different things; labels for more latents than there are is a warning."""
    names = [f"{index}.npy" for index in range(11)]
    with pytest.raises(ValueError) as error:
        read(tmp_path / "a.txt", "seed0 1\nseed1 0\n", *names)
    assert str(error.value) == (
        f"{tmp_path}/a.txt: no label for 11 of 11 latents: 0.npy, 1.npy, 2.npy, 3.npy, 4.npy, 5.npy, 6.npy, "
        "7.npy and 3 more; "
        "no latents have the names seed0, seed1"
    )
    assert read(tmp_path / "a.txt", "2 1\n1 0\n0 1\nseed3 1\n", *names[:3]) == [1, 0, 1]
    assert "a.txt: 1 label(s) that name no latent are left out: seed3" in capsys.readouterr().err


def test_latents_of_one_file_share_its_label(tmp_path: Path):
    """Protects: files of several rows with labels by name, and the number of labels without names."""
    assert read(tmp_path / "a.txt", "b 1\na 0\n", "a.npy", "b.npy", counts=[1, 3]) == [0, 1, 1, 1]
    with pytest.raises(ValueError, match="a.txt: 2 labels for 4 latents"):
        read(tmp_path / "a.txt", "0\n1\n", "a.npy", "b.npy", counts=[1, 3])


# Tables of attributes.

CELEB_A = """3
5_o_Clock_Shadow Male Smiling
000001.jpg -1  1  1
000002.jpg -1 -1  1
000003.jpg  1  1 -1
"""


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list_attr_celeba.txt", CELEB_A),
        ("a.csv", "image_id,Male,Smiling,Young\n000003.jpg,1,-1,1\n000001.jpg,1,1,1\n000002.jpg,-1,1,1\n"),
        ("a.txt", "image_id Male Smiling\n000001 1 1\n000002 0 1\n000003 1 0\n"),
    ],
)
def test_one_column_of_a_table(tmp_path: Path, name: str, content: str):
    """Protects: CelebA's own file and tables like it, by the attribute's name."""
    names = [f"00000{index}.npy" for index in (1, 2, 3)]
    assert read(tmp_path / name, content, *names, attribute="Smiling") == [1, 1, 0]
    assert read(tmp_path / name, content, *names, attribute="Male") == [1, 0, 1]
    with pytest.raises(ValueError, match=r"line [12]: no attribute 'Smile'; there are .*Male, Smiling"):
        read(tmp_path / name, content, *names, attribute="Smile")
    with pytest.raises(ValueError, match="--attribute|no label for|is no label"):
        read(tmp_path / name, content, *names)


# What is refused.


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", "a.txt: holds no labels"),
        ("a.txt", "1\n0\n2\n", "a.txt, line 3: '2' is no label; 0 and 1, -1 and 1, no and yes, or false and true are"),
        ("a.txt", "1\n0\n0.5\n", "a.txt, line 3: '0.5' is no label"),
        ("a.txt", "1\n0\nnan\n", "a.txt, line 3: 'nan' is no label"),
        ("a.txt", "0\n1\n-1\n", "a.txt, line 3: '-1' does not go with '0'"),
        ("a.txt", "yes\n\n1\nno\n", "a.txt, line 3: '1' does not go with 'yes'"),
        ("a.txt", "true\nno\n1\n", "a.txt, line 2: 'no' does not go with 'true'"),
        ("a.txt", "a 1\n0\nb 1\n", r"a.txt, line 2: 1 field\(s\), line 3 has 2; every line is NUMBER, or every one"),
        ("a.txt", CELEB_A, r"a.txt, line 1: 1 field\(s\), line 5 has 2; .*; a table of attributes needs --attribute"),
        ("a.csv", "a,1,2\n", "a.csv, line 1: 3 fields; NUMBER or NAME,NUMBER is right, and --attribute"),
        ("a.csv", 'a,1\n"b,0\n', "a.csv, line 2: no CSV"),
        ("a.csv", 'a,1\n"b" c,0\n', "a.csv, line 2: no CSV"),
        ("a.csv", "a,l\nb,0\nc,1\n", "no label for 1 of 3 latents: a.npy$"),
        ("a.txt", "1\n0\n1\n0\n", "a.txt: 4 labels for 3 latents"),
        ("a.csv", "1\n0\n1".encode("utf-16"), "a.csv: not readable as labels .no text in UTF-8"),
        ("a.npy", b"\x93NUMPY", "a.npy: not a readable .npy file"),
    ],
)
def test_what_leaves_a_doubt_is_refused(tmp_path: Path, name: str, content: str | bytes, message: str):
    """Protects: one line with the file and the line in it, instead of labels that are somebody else's."""
    with pytest.raises(ValueError, match=re.escape(str(tmp_path)) + "/" + f"(?:{message})|^.*{message}") as error:
        read(tmp_path / name, content, "a.npy", "b.npy", "c.npy")
    assert "\n" not in str(error.value) and name in str(error.value)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([1, 0]), "a.npy: 2 labels for 3 latents"),
        (np.array([1, 0, 2]), "a.npy, row 2: '2.0' is no label"),
        (np.array([1, 0, -1]), "a.npy, row 2: '-1.0' does not go with '1.0'"),
        (np.array([1, np.nan, 0]), "a.npy, row 1: 'nan' is no label"),
        (np.array(["1", "0", "1"]), "a.npy: labels are numbers, not <U1"),
    ],
)
def test_arrays_that_are_no_labels(tmp_path: Path, array: np.ndarray, message: str):
    """Protects: the same for `.npy` files, with the row."""
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "a.npy", (tmp_path / "a.npy").read_bytes(), "x.npy", counts=[3])
