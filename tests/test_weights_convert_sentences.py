"""Models of sentence-transformers in folders, wheels and single files, and what is refused of them."""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.traverse_util
import numpy as np
import pytest
import safetensors.numpy
from test_minilm import CONFIG, VOCABULARY, network

import jaxedit
from jaxedit.families import abstract_params
from jaxedit.networks.minilm import MiniLM, MiniLMConfig
from weights_convert import ConversionError, convert
from weights_convert.__main__ import main
from weights_convert.tables import TABLES

PLACE = "a_package/model"


def official_files() -> dict[str, Any]:
    """The files of a folder by name, what is JSON as objects and the weights as arrays."""
    flat: Any = flax.traverse_util.flatten_dict(network().params, sep="/")
    tensors = {
        row.torch: np.ascontiguousarray(flat[row.leaf].T if row.layout == "dense" else flat[row.leaf])
        for row in TABLES["minilm"].rows(CONFIG)
    }
    del tensors["vocab.txt"]
    tensors |= {f"pooler.dense.{name}": np.zeros(3, np.float32) for name in ("weight", "bias")}
    tensors |= {"embeddings.position_ids": np.arange(CONFIG.positions)[None]}
    kinds = ("Transformer", "Pooling", "Normalize")
    return {
        "model.safetensors": tensors,
        "config.json": {
            "architectures": ["BertModel"],
            "attention_probs_dropout_prob": 0.1,
            "hidden_act": "gelu",
            "hidden_size": CONFIG.dimensions,
            "intermediate_size": CONFIG.hidden,
            "layer_norm_eps": 1e-12,
            "max_position_embeddings": CONFIG.positions,
            "model_type": "bert",
            "num_attention_heads": CONFIG.heads,
            "num_hidden_layers": CONFIG.layers,
            "position_embedding_type": "absolute",
            "type_vocab_size": 2,
            "vocab_size": CONFIG.pieces,
        },
        "modules.json": [{"idx": 0, "path": "", "type": f"sentence_transformers.models.{kind}"} for kind in kinds],
        "1_Pooling/config.json": {
            "word_embedding_dimension": CONFIG.dimensions,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
        },
        "sentence_bert_config.json": {"max_seq_length": CONFIG.length, "do_lower_case": False},
        "tokenizer_config.json": {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True},
        "vocab.txt": VOCABULARY,
        "README.md": b"A model.",
    }


def packed(content: Any) -> bytes:
    if isinstance(content, bytes):
        return content
    arrays = isinstance(content, dict) and all(isinstance(value, np.ndarray) for value in content.values())
    return safetensors.numpy.save(content) if arrays else json.dumps(content).encode()


def written(path: Path, files: dict[str, Any], form: str) -> Path:
    """As a folder, its largest file, or a wheel; the path to convert."""
    if form == "wheel":
        path = path.with_suffix(".whl")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a_package/__init__.py", "raise SystemExit")
            for name, content in files.items():
                archive.writestr(f"{PLACE}/{name}", packed(content))
        return path
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(packed(content))
    return path if form == "folder" else path / "model.safetensors"


FORMS = ("folder", "file", "wheel")


@pytest.mark.parametrize("form", FORMS)
def test_models_are_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str):
    """Protects: every tensor in its place, the architecture and the vocabulary, from all three forms."""
    source, expected = written(tmp_path / "model", official_files(), form), network()
    named = ["--network", "minilm"] if form == "folder" else []
    assert main([str(source), str(tmp_path / "out"), *named]) == 0
    assert "Apache" in capsys.readouterr().out
    found: Any = jaxedit.load_network(tmp_path / "out")
    assert isinstance(found, MiniLM) and found.config == CONFIG and found.pieces() == expected.pieces()
    leaves = flax.traverse_util.flatten_dict(found.params)
    for name, leaf in flax.traverse_util.flatten_dict(expected.params).items():
        np.testing.assert_array_equal(leaves[name], leaf, err_msg=str(name))
    assert main([str(source), "--info"]) == 0
    assert f"heads={CONFIG.heads}" in capsys.readouterr().out


def test_names_and_shapes_are_those_of_the_official_file():
    """Protects: the released file fits as it is: its 101 tensors that are used, of 22.6 million numbers."""
    config = MiniLMConfig()
    shapes: Any = flax.traverse_util.flatten_dict(abstract_params(config), sep="/")
    rows = {row.torch: shapes[row.leaf].shape for row in TABLES["minilm"].rows(config)}
    assert rows.pop("vocab.txt") == (231508,)
    assert len(rows) == 101 and sum(np.prod(shape) for shape in rows.values()) == 22_565_376
    last = "encoder.layer.5"
    assert rows[f"{last}.attention.self.value.weight"] == (384, 384)
    assert rows[f"{last}.intermediate.dense.weight"] == (384, 1536)
    assert rows["embeddings.LayerNorm.weight"] == rows[f"{last}.attention.output.LayerNorm.bias"] == (384,)
    assert rows["embeddings.token_type_embeddings.weight"] == (2, 384)


def test_half_precision_is_read(tmp_path: Path):
    """Protects: weights that were saved in float16."""
    files = official_files()
    weights = files["model.safetensors"]
    files["model.safetensors"] = {
        name: array if array.dtype == np.int64 else array.astype(np.float16) for name, array in weights.items()
    }
    assert main([str(written(tmp_path / "model", files, "folder")), str(tmp_path / "out")]) == 0
    found: Any = jaxedit.load_network(tmp_path / "out")
    table = found.params["params"]["embeddings"]["word_embeddings"]["embedding"]
    np.testing.assert_allclose(table, weights["embeddings.word_embeddings.weight"], rtol=1e-3)


def changed(file: str, *path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(files: dict[str, Any]) -> None:
        for key in (file, *path)[:-1]:
            files = files[key]
        files[(file, *path)[-1]] = to

    return change


WORDS = "embeddings.word_embeddings.weight"
REFUSED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no vocabulary": (lambda files: files.pop("vocab.txt"), "model.safetensors has no vocab.txt beside it"),
    "no steps": (lambda files: files.pop("modules.json"), "model.safetensors has no modules.json beside it"),
    "no JSON": (changed("config.json", to=b"{"), "config.json: no readable JSON"),
    "deep JSON": (changed("modules.json", to=b"[" * 100_000), "modules.json: no readable JSON"),
    "JSON in no encoding": (changed("config.json", to=b"\xff\xff"), "config.json: no readable JSON"),
    "another JSON": (changed("config.json", to=[1]), "config.json: the construction options are not a dict"),
    "steps that are no list": (changed("modules.json", to=7), "modules.json has the steps"),
    "not normalised": (lambda files: files["modules.json"].pop(), "has the steps ['Transformer', 'Pooling']"),
    "other pooling": (changed("1_Pooling/config.json", "pooling_mode_cls_token", to=True), "pooling_mode_cls_token"),
    "cased": (changed("tokenizer_config.json", "do_lower_case", to=False), "do_lower_case is False, supported is True"),
    "RoBERTa": (changed("config.json", "model_type", to="roberta"), "model_type is 'roberta', supported is 'bert'"),
    "ReLU": (changed("config.json", "hidden_act", to="relu"), "hidden_act is 'relu'"),
    "unknown option": (changed("config.json", "rope", to=1), "unknown construction options rope"),
    "no heads": (lambda files: files["config.json"].pop("num_attention_heads"), "num_attention_heads is 0, supported"),
    "heads that do not fit": (changed("config.json", "num_attention_heads", to=5), "heads 5"),
    "another width": (changed("config.json", "hidden_size", to=15), "word_embedding_dimension is 12"),
    "more layers": (changed("config.json", "num_hidden_layers", to=3), "16 missing (encoder.layer.2"),
    "too long": (changed("sentence_bert_config.json", "max_seq_length", to=41), "from 2 to 40"),
    "fewer pieces": (changed("vocab.txt", to=VOCABULARY[:-4]), "vocab.txt has 25 pieces, config.json says 26"),
    "binary vocabulary": (changed("vocab.txt", to=b"\xff\xfe"), "vocab.txt: the vocabulary is no text in UTF-8"),
    "missing tensor": (
        lambda files: files["model.safetensors"].pop("encoder.layer.1.output.dense.bias"),
        "1 missing (encoder.layer.1.output.dense.bias)",
    ),
    "unexpected tensor": (changed("model.safetensors", "extra", to=np.zeros(2, np.float32)), "1 unexpected (extra)"),
    "misshapen": (changed("model.safetensors", WORDS, to=np.zeros((3, 12), np.float32)), f"{WORDS} (3, 12), expected"),
    "whole numbers": (changed("model.safetensors", WORDS, to=np.zeros((26, 12), np.int64)), f"{WORDS} is int64"),
    "not finite": (
        changed("model.safetensors", WORDS, to=np.full((26, 12), np.nan, np.float32)),
        "not finite, in params/embeddings/word_embeddings/embedding",
    ),
    "bools": (changed("model.safetensors", "extra", to=np.zeros(2, bool)), "extra is BOOL of 1 axes"),
    "other weights": (changed("model.safetensors", to={"x": np.zeros(2, np.float32)}), "no network of a known format"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_and_damaged_models_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str):
    """Protects: one line says what does not fit, in a folder and in a wheel, and nothing stays behind."""
    change, message = REFUSED[case]
    change(files := official_files())
    for form in ("folder", "wheel"):
        (tmp_path / form).mkdir()
        source = written(tmp_path / form / "model", files, form)
        assert main([str(source), str(tmp_path / form / "out")]) == 1
        err = capsys.readouterr().err
        assert err.startswith(f"error: {source}: ") and err.count("\n") == 1 and message in err
        assert os.listdir(tmp_path / form) == [source.name]


def test_truncated_files_are_refused(tmp_path: Path):
    """Protects: a file of tensors that ends too early, or whose header promises more than there is."""
    whole = packed(official_files()["model.safetensors"])
    size = int.from_bytes(whole[:8], "little")
    folder = written(tmp_path / "model", official_files(), "folder")
    for content in (whole[:-1], whole[: size + 8], whole[: size // 2], whole + b"0", whole[:8] + b"{" * size):
        (folder / "model.safetensors").write_bytes(content)
        for source in (folder, folder / "model.safetensors"):
            with pytest.raises(ConversionError, match="damaged .safetensors|not a checkpoint") as caught:
                convert(source, tmp_path / "out")
            assert str(caught.value).isprintable() and os.listdir(tmp_path) == ["model"]
