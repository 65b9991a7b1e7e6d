"""What is public: documented, listed in the docs, and of one style; what an import costs and may reach."""

import ast
import functools
import importlib
import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flax.linen
import jax
import pytest

import jaxedit

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(jaxedit.__file__).parent
MODULES = {
    "nn": "jaxedit.nn",
    "stylegan2": "jaxedit.generators.stylegan2",
    "mobile_stylegan": "jaxedit.generators.mobile_stylegan",
    "biggan": "jaxedit.generators.biggan",
    "progressive": "jaxedit.generators.progressive",
    "mobile_stylegan_staged": "jaxedit.generators.mobile_stylegan_staged",
    "stylegan2_blocks": "jaxedit.generators.stylegan2_blocks",
    "stylegan2_staged": "jaxedit.generators.stylegan2_staged",
    "stylegan2_discriminator": "jaxedit.generators.stylegan2_discriminator",
    "base": "jaxedit.generators.base",
    "checkpoints": "jaxedit.checkpoints",
    "families": "jaxedit.families",
    "arrays": "jaxedit.arrays",
    "images": "jaxedit.images",
    "sheets": "jaxedit.sheets",
    "spaces": "jaxedit.spaces",
    "files": "jaxedit.directions.files",
    "svm": "jaxedit.directions.svm",
    "pca": "jaxedit.directions.pca",
    "closed_form": "jaxedit.directions.closed_form",
    "channels": "jaxedit.directions.channels",
    "local": "jaxedit.directions.local",
    "regions": "jaxedit.regions",
    "staged": "jaxedit.staged",
    "stage_programs": "jaxedit.stage_programs",
    "compaction": "jaxedit.compaction",
    "l2m_gan": "jaxedit.methods.l2m_gan",
    "l2m_losses": "jaxedit.methods.l2m_losses",
    "l2m_config": "jaxedit.methods.l2m_config",
    "lelsd": "jaxedit.methods.lelsd",
    "sgf": "jaxedit.methods.sgf",
    "style_intervention": "jaxedit.methods.style_intervention",
    "batch": "jaxedit.batch",
    "avatars": "jaxedit.avatars",
    "captions": "jaxedit.avatars.captions",
    "bag_of_words": "jaxedit.bag_of_words",
    "sentences": "jaxedit.sentences",
    "datasets": "jaxedit.datasets",
    "metrics": "jaxedit.metrics",
    "attributes": "jaxedit.networks.attributes",
    "bisenet": "jaxedit.networks.bisenet",
    "classifiers": "jaxedit.networks.classifiers",
    "deeplab": "jaxedit.networks.deeplab",
    "auxiliary_mapping": "jaxedit.networks.auxiliary_mapping",
    "senet50": "jaxedit.networks.senet50",
    "fan": "jaxedit.networks.fan",
    "l2m_generator": "jaxedit.networks.l2m_generator",
    "l2m_style_encoder": "jaxedit.networks.l2m_style_encoder",
    "l2m_discriminator": "jaxedit.networks.l2m_discriminator",
    "feature_parser": "jaxedit.networks.feature_parser",
    "keypoints": "jaxedit.networks.keypoints",
    "embedding": "jaxedit.networks.embedding",
    "lpips": "jaxedit.networks.lpips",
    "minilm": "jaxedit.networks.minilm",
    "wordpiece": "jaxedit.networks.wordpiece",
    "face_detector": "jaxedit.networks.face_detector",
    "face_landmarks": "jaxedit.networks.face_landmarks",
    "face_recognition": "jaxedit.networks.face_recognition",
    "face_expressions": "jaxedit.networks.face_expressions",
    "face_crops": "jaxedit.networks.face_crops",
    "age_gender": "jaxedit.networks.age_gender",
    "crops": "jaxedit.nn.crops",
    "spectral": "jaxedit.nn.spectral",
    "alignment": "jaxedit.alignment",
    "faces": "jaxedit.faces",
    "segmenters": "jaxedit.segmenters",
    "conditions": "jaxedit.conditions",
    "gan": "jaxedit.training.gan",
    "gan_config": "jaxedit.training.gan_config",
    "loop": "jaxedit.training.loop",
    "supervised": "jaxedit.training.supervised",
    "losses": "jaxedit.training.losses",
    "surrogate": "jaxedit.training.surrogate",
    "translation": "jaxedit.training.translation",
    "augment": "jaxedit.training.augment",
    "degradation": "jaxedit.training.degradation",
}
# Parameters with a default that are not keyword-only: what a function is naturally called with.
POSITIONAL_DEFAULTS = {
    "base.sample_z(z_dim)",
    "stylegan2.map_latent(c)",
    "stylegan2.StyleGAN2Generator.map(c)",
    "stylegan2_discriminator.discriminate(c)",
    "stylegan2_discriminator.StyleGAN2Discriminator.discriminate(c)",
    "spaces.edited(edits)",
    "batch.choose_batch_size(batch_size)",
}


def is_network(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, flax.linen.Module)


def members(label: str) -> Iterator[tuple[str, Any]]:
    """Public functions and classes that a module defines (`nn`: exports); networks elsewhere are internal.

    What wraps a function, such as `jax.jit`, is no function for `inspect`, but callable and of the module.
    """
    module = importlib.import_module(MODULES[label])
    for name, value in vars(module).items():
        own = callable(value) and f"{getattr(value, '__module__', None)}.".startswith(f"{module.__name__}.")
        if own and not name.startswith("_") and (label == "nn" or not is_network(value)):
            yield f"{label}.{name}", value


def methods(name: str, cls: type) -> Iterator[tuple[str, Any]]:
    for method, value in vars(cls).items():
        function = getattr(value, "func", getattr(value, "fget", value))  # of (cached) properties
        written = callable(function) and getattr(function, "__module__", None) == cls.__module__
        if written and not method.startswith("_") and method not in ("replace", "setup"):  # `replace` is Flax's
            yield f"{name}.{method}", function


OBJECTS = dict(member for label in MODULES for member in members(label))
FUNCTIONS = {name: value for name, value in OBJECTS.items() if not inspect.isclass(value)}
METHODS = dict(item for name, cls in OBJECTS.items() if inspect.isclass(cls) for item in methods(name, cls))
CALLABLES = {**FUNCTIONS, **METHODS}


def parameters(function: Any) -> dict[str, inspect.Parameter]:
    return {name: p for name, p in inspect.signature(function).parameters.items() if name != "self"}


def is_array(annotation: Any) -> bool:
    return bool(re.search(r"Float|UInt8|Real|Styles|Array", str(annotation)))


def sections(function: Any) -> set[str]:
    return set(re.findall(r"^(Args|Returns|Raises):$", inspect.getdoc(function) or "", re.MULTILINE))


# Names.


def test_every_exported_name_resolves():
    """Protects: `jaxedit.__all__`, whose names are imported on first use."""
    assert sorted(jaxedit.__all__) == jaxedit.__all__ and set(jaxedit.__all__) <= set(dir(jaxedit))
    for name in jaxedit.__all__:
        assert getattr(jaxedit, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        jaxedit.__getattr__("nothing")


def listed_functions() -> dict[str, set[str]]:
    """Module -> names of the list of public functions."""
    text = (ROOT / "docs" / "functions.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.]+)` \| (.+) \|$", text, re.MULTILINE)
    return {module: set(re.findall(r"`(\w+)`", names)) for module, names in rows}


def resolve(dotted: str) -> Any:
    """A module by the name that the list gives it, such as `jaxedit.directions.pca`."""
    package, *path = dotted.split(".")
    return functools.reduce(getattr, path, importlib.import_module(package))


def test_all_modules_are_attributes_of_the_package():
    """Protects: `import jaxedit` being enough for everything on the list."""
    dotted = [module for module in listed_functions() if module.startswith("jaxedit")]
    assert python(f"import jaxedit; [{', '.join(dotted)}]; print('all')").strip() == "all"


def test_the_list_holds_everything_public_and_nothing_else():
    """Protects: the list of functions from going stale in either direction."""
    table = listed_functions()
    listed = {f"{module.rpartition('.')[2]}.{name}" for module, names in table.items() for name in names}
    missing = {name for name in OBJECTS if name not in listed and not name.startswith("base.")}
    assert not missing, "public, but not in docs/functions.md"
    wrong = {
        f"{module}.{name}" for module, names in table.items() for name in names if not hasattr(resolve(module), name)
    }
    assert not wrong, "in docs/functions.md, but do not exist"
    modules = {name for name in jaxedit.__all__ if inspect.ismodule(getattr(jaxedit, name))}
    assert set(jaxedit.__all__) - modules == table["jaxedit"]
    listed = {f"{module}." for module in table}
    assert all(any(module.startswith(f"jaxedit.{name}.") for module in listed) for name in modules - {"methods"})


# Docstrings.


def test_docstrings_begin_with_a_sentence():
    """Protects: every public thing says what it is."""
    for name, value in {**OBJECTS, **METHODS}.items():
        doc = inspect.getdoc(value) or ""
        assert re.match(r"\S.*?[.)]( |\n|$)", doc.partition("\n\n")[0].replace("\n", " ")), name
        assert not doc.startswith(name.rpartition(".")[2] + "("), f"{name}: made by dataclasses"


def test_docstrings_describe_parameters_and_result():
    """Protects: shapes and units of all arguments. A function of one argument may say it all in a sentence or two."""
    for name, function in FUNCTIONS.items():
        found, doc = parameters(function), inspect.getdoc(function) or ""
        if "Args" in sections(function):
            described = set(re.findall(r"^    (\w+): \S", doc.partition("Args:")[2], re.MULTILINE))
            missing = set(found) - {"config"} - described  # config is the generator's, everywhere
            assert not missing, f"{name}: does not describe {missing}"
            returned = str(inspect.signature(function).return_annotation)
            told = "Returns" in sections(function) or not (is_array(returned) or re.search(r"tuple\[|Any", returned))
            assert told, f"{name}: does not describe its result"
        else:
            assert len(set(found) - {"path", "image"}) <= 1, f"{name}: needs Args"
            known = re.search(r"\[|dtype|float|uint8|`\.|file|`split_styles`|as for `", doc)
            assert known, f"{name}: needs shapes, dtypes or the format"


def test_docstrings_name_the_errors():
    """Protects: a function that raises says so."""
    for name, function in FUNCTIONS.items():
        body = ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function))))
        raised = {node.exc.func.id for node in body if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)}  # pyright: ignore
        told = (inspect.getdoc(function) or "").partition("Raises:")[2]
        assert all(f"{error}:" in told for error in raised), f"{name}: {raised}"


# Signatures.


def test_options_are_keyword_only():
    """Protects: calls stay readable, and options can be added without breaking any."""
    positional = {
        f"{name}({parameter.name})"
        for name, function in CALLABLES.items()
        for parameter in parameters(function).values()
        if parameter.default is not parameter.empty and parameter.kind is not parameter.KEYWORD_ONLY
    }
    assert positional == POSITIONAL_DEFAULTS


def test_arrays_first_key_first():
    """Protects: one order of arguments: a key, then parameters and arrays, then options by keyword only; no `rng`."""
    for name, function in CALLABLES.items():
        found, label = parameters(function), name.partition(".")[0]
        seeded = name == "base.sample_z" or label in ("datasets", "loop", "translation")
        assert not {"rng", "seed"} & set(found) - ({"seed"} if seeded else set()), name
        assert list(found).index("key") == 0 if "key" in found else True, name
        arrays = any(is_array(p.annotation) and p.kind is not p.KEYWORD_ONLY for p in found.values())
        if arrays and label != "batch":
            plain = [p.name for p in found.values() if p.kind is not p.KEYWORD_ONLY and str(p.annotation) in PLAIN]
            assert not plain, f"{name}: an option of a function of arrays"


PLAIN = {"bool", "int", "float", "str", *map(str, (bool, int, float, str))}


def compiled(functions: dict[str, Any]) -> list[str]:
    """Names of what is no plain Python function, such as what `jax.jit` returns."""
    return [name for name, function in functions.items() if not inspect.isfunction(function)]


def test_no_hidden_jit(monkeypatch: pytest.MonkeyPatch):
    """Protects: the user decides what is compiled; library functions are plain Python functions."""
    assert compiled(CALLABLES) == []
    monkeypatch.setattr(jaxedit.images, "to_uint8", jax.jit(jaxedit.images.to_uint8))
    assert compiled(dict(members("images"))) == ["images.to_uint8"], "and one would be seen"


# Imports.


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_importing_the_package_does_not_import_jax():
    """Protects: `jaxedit --help` answers at once."""
    heavy = "{'jax', 'flax', 'numpy', 'orbax', 'PIL'}"
    assert python(f"import jaxedit, sys; print(sorted({heavy} & set(sys.modules)))").strip() == "[]"


def all_modules() -> list[str]:
    files = [path.relative_to(PACKAGE.parent).with_suffix("") for path in PACKAGE.rglob("*.py")]
    return sorted(".".join(path.parts).removesuffix(".__init__") for path in files if path.name != "__main__.py")


def test_importing_every_module_only_defines_things():
    """Protects: an import writes nothing, takes no device, compiles nothing, and loads no foreign framework."""
    code = f"""
        import importlib, os, sys
        sys.dont_write_bytecode = True
        import jax
        events, writes = [], []
        jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: events.append(event))
        flags = os.O_WRONLY | os.O_RDWR | os.O_CREAT
        hook = lambda event, args: writes.append(args) if event == "open" and (args[2] or 0) & flags else None
        sys.addaudithook(hook)
        for name in {all_modules()!r}:
            importlib.import_module(name)
        jax.config.update("jax_num_cpu_devices", 3)  # refused once a backend has started
        compiled = [event for event in events if "compile" in event]
        foreign = {{"torch", "tensorflow", "weights_convert", "benchmarks"}} & set(sys.modules)
        print(len(jax.devices()), compiled, writes, sorted(foreign))
        """
    assert python(textwrap.dedent(code)).strip() == "3 [] [] []"


def own_modules() -> dict[str, Path]:
    """All modules of the library, the converter and the benchmarks."""
    roots = [PACKAGE, PACKAGE.parent / "weights_convert", PACKAGE.parent / "benchmarks"]
    files = [path for root in roots for path in root.rglob("*.py")]
    dotted = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in files]
    return dict(zip((name.removesuffix(".__init__") for name in dotted), files, strict=True))


def imports(path: Path) -> set[str]:
    """All modules that a file imports anywhere, also inside functions, and the names that it takes from them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def arrows() -> dict[str, set[str]]:
    """Which of our modules imports which others."""
    modules = own_modules()

    def owner(name: str) -> str:
        while name and name not in modules:
            name = name.rpartition(".")[0]
        return name

    return {module: {owner(name) for name in imports(path)} - {"", module} for module, path in modules.items()}


LAYERS = (
    {
        "lazily",
        "messages",
        "atomic",
        "digests",
        "settings",
        "suggestions",
        "progress",
        "memory",
        "compaction",
        "regions",
        "metrics",
    },
    {"arrays", "claims", "interrupts", "log", "images"},
    {"nn", "sheets", "staged"},
    {"generators", "networks"},
    {"families", "spaces", "alignment"},
    {"checkpoints", "stage_programs", "batch"},
    {"directions", "methods"},
    {"training"},
    {"avatars", "bag_of_words", "conditions", "datasets", "faces", "segmenters", "sentences"},
    {"cli", "__main__"},
)
"""Files and folders of the library, from the foundations up: none imports from above."""
FOREIGN = {"torch", "tensorflow", "benchmarks", "weights_convert"}


def test_arrows_point_one_way():
    """Protects: the layers of the design, for all files; only the command line reads `.pt` files, by the converter."""
    layer_of = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    for module, path in own_modules().items():
        allowed = {"weights_convert"} if module in ("jaxedit.cli.array_files",) else set()
        reached = {name.split(".")[0] for name in imports(path)} - {module.split(".")[0]}
        if not module.startswith("benchmarks"):
            assert not reached & FOREIGN - allowed, module
    for module, others in arrows().items():
        parts = module.split(".")
        if parts[0] != "jaxedit" or len(parts) == 1:
            continue
        for other in others - {"jaxedit"}:
            inside = other.split(".")[:2]
            if inside[0] == "jaxedit":
                assert layer_of[inside[1]] <= layer_of[parts[1]], f"{module} imports {other}"


def test_no_module_imports_itself_in_the_end():
    """Protects: no circle, not even one that an import inside a function hides."""
    graph, done = {module: others - {"jaxedit"} for module, others in arrows().items()}, set()

    def follow(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for other in sorted(graph[module]):
                follow(other, (*path, module))
            done.add(module)

    for module in graph:
        if module != "jaxedit":
            follow(module, ())
