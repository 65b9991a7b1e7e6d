"""The first minutes with the command line: help, mistakes and what is said about them; Ctrl-C; compiled programs."""

import concurrent.futures
import contextlib
import dataclasses
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import termios
import textwrap
import time
import warnings
from pathlib import Path

import jax
import pytest

from jaxedit import atomic, cli, interrupts, progress, suggestions
from jaxedit.avatars.factors import ATTRIBUTES
from jaxedit.cli import arguments, codes, commands, compilation_cache, options
from jaxedit.cli.given_directions import with_spaces
from jaxedit.generators.stylegan2 import StyleGAN2Config, StyleGAN2Generator

ROOT = Path(__file__).resolve().parents[1]

TAKES = {name: row.options for name, row in commands.COMMANDS.items()}


def parsed(text):
    """What a command line's options are."""
    return arguments.parse_command(TAKES, shlex.split(text), program="jaxedit", description="", renamed=options.RENAMED)


def environment(**changes):
    return {key: value for key, value in os.environ.items() if key != "COLUMNS"} | changes


def on_a_terminal(*given):
    """The exit code and all that a colour terminal of 80 columns shows."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    command = [sys.executable, "-m", "jaxedit", *given]
    done = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment(TERM="xterm-256color"))
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # the other end is closed
            os.close(ours)
            return done.wait(), shown.decode().replace("\r\n", "\n")


# Help.


@pytest.mark.parametrize("text", ["", "help", "--help", "-h"])
def test_the_overview_names_all_commands(text, capsys):
    """Protects: who types only `jaxedit` sees what there is, and that is no error."""
    assert cli.main(text.split()) == 0
    shown = capsys.readouterr()
    assert all(f"  {name} " in shown.out for name in TAKES) and "jaxedit demo" in shown.out and not shown.err


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert re.fullmatch(r"jaxedit \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


@pytest.mark.parametrize("command", TAKES)
def test_help_describes_every_option(command, capsys):
    """Protects: `help COMMAND` and `COMMAND --help` are one, and no option goes without a text."""
    assert cli.main(["help", command]) == 0
    shown = capsys.readouterr().out
    assert cli.main([command, "--bogus", "--help"]) == 0 and capsys.readouterr().out == shown
    for option in arguments._table(TAKES[command]):
        assert re.search(rf"^  {option.flags[0]}\b[^\n]*\s+\S", shown, re.MULTILINE), option


def test_help_is_quick():
    """Protects: neither JAX nor anything else that is slow to import is needed for help and usage errors."""
    code = "import sys; from jaxedit import cli; cli.main(sys.argv[1:]); print(*sys.modules)"
    for given in (["help", "edit"], ["edti"], ["edit", "--strenghts"]):
        done = subprocess.run([sys.executable, "-c", code, *given], check=True, capture_output=True, text=True)
        assert not {"jax", "numpy", "PIL", "tqdm"} & set(done.stdout.split())


def test_commands_of_the_documents_are_understood():
    """Protects: what the documents tell people to type."""
    documents = [ROOT / "README.md", *ROOT.glob("docs/*.md")]
    text = "".join(path.read_text(encoding="utf-8") for path in documents)
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    commands = [command for line in lines for command in re.findall(r"(?:^|&& )jaxedit ([^#&]*)", line)]
    assert len(commands) > 4
    for command in commands:
        assert parsed(command)


# Mistakes.

MISTAKES = {
    "edti": "there is no command 'edti'; perhaps you meant edit",
    "train": "perhaps you meant train-stylegan2",
    "nonsense": "there are demo, generate, edit",
    "help edti": "perhaps you meant edit",
    "--seeds 0": "begin with a command: demo, ",
    "generate avatars --seeds 0 --output o --bogus": "there is no --bogus",
    "edit avatars --strenghts 1": "perhaps you meant --strengths",
    "edit avatars -seeds 1": "perhaps you meant --seeds",
    "generate avatars": "missing: --output, --seeds",
    "generate --seeds 0 --output o": "missing: CHECKPOINT",
    "generate avatars --output --seeds 0": "--output takes a value",
    "generate avatars --output= --seeds 0": "--output takes a value",
    "generate avatars more --output o --seeds 0": "unexpected 'more'",
    "generate avatars --grid=yes": "--grid takes no value",
    "generate avatars --output o --seeds 0 --batch-size 1.5": "--batch-size takes an integer, not '1.5'",
    "generate avatars --output o --seeds 0 --truncation-psi x": "--truncation-psi takes a number, not 'x'",
    "generate avatars --output o --seeds 0 --noise-mode cosnt": "meant const; choose from const, none, random",
    "generate --network ffhq.pkl --outdir o": "give CHECKPOINT as the first argument",
    "fit-direction w --network ffhq.pkl": "--network is called --checkpoint here",
    "generate avatars --outdir o": "--outdir is called --output here",
    "generate avatars --trunc 0.7": "--trunc is called --truncation-psi here",
    "generate avatars --trunc=0.7": "--trunc is called --truncation-psi here",
    "generate avatars --seed 1": "--seed is called --seeds here",
    "generate avatars --class-idx 1": "--class-idx is called --class here",
    "train-stylegan2 --batch 8": "--batch is called --batch-size here",
    "train-stylegan2 --kimg 8": "--kimg is called --images here (single images, not thousands)",
    "train-stylegan2 --gpus 8": "all devices of the machine are used",
    "edit avatars --projected_w w.npz": "--projected_w is called --latents here",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_one_line_that_helps(text, capsys):
    """Protects: did-you-mean for commands, options and choices; other programs' spellings answered with ours."""
    assert cli.main(text.split()) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ") and shown.err.count("\n") == 1 and not shown.out
    assert MISTAKES[text] in shown.err and re.search(r"; see jaxedit( \S+)? --help\n$", shown.err)


@pytest.mark.parametrize("text", ["edti", "edit avatars --strenghts 1", "generate avatars", "info nowhere"])
def test_errors_on_a_colour_terminal_are_plain(text):
    """Protects: no escape codes and no boxes, which came from a library that frames its messages."""
    code, shown = on_a_terminal(*text.split())
    assert code == 1 and shown.startswith("error: ") and shown.count("\n") == 1
    assert shown[:-1].isprintable() and shown.isascii()


def test_control_characters_are_shown_escaped(capsys):
    """Protects: a terminal that is shown an error."""
    assert cli.main(["generate", "avatars", "--\x1b[31mred", "x" * 9000]) == 1
    assert "--\\x1b[31mred" in (shown := capsys.readouterr().err) and shown[:-1].isprintable() and len(shown) < 6000


def test_renamed_options_are_no_options():
    """Protects: what is said about other programs' options names fields that there are, and is not in their way."""
    fields = {field.name for command in TAKES.values() for field in dataclasses.fields(command)}
    assert {renamed.field for renamed in options.RENAMED.values()} <= fields | {""}


# What is understood.


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("0 1 2", [0, 1, 2]),
        ("0-3 8", [0, 1, 2, 3, 8]),
        ("0,4,7-9", [0, 4, 7, 8, 9]),
        ("0-3,7", [0, 1, 2, 3, 7]),
        ("0, 4", [0, 4]),
        ("5 5 0-1", [5, 0, 1]),
        ("1 --seeds 2", [1, 2]),
    ],
)
def test_seeds_in_all_spellings(text, seeds):
    """Protects: blanks, commas and ranges, NVIDIA's too."""
    assert codes.parse_seeds(*parsed(f"generate avatars --output o --seeds {text}").seeds) == seeds
    assert codes.parse_seeds(*parsed(f"edit --output=o avatars --seeds {text}").seeds) == seeds


@pytest.mark.parametrize("seeds", ["-5", "x", "1 2 avatars", ","])
def test_seeds_that_are_none(seeds):
    with pytest.raises(ValueError, match="is not a number"):
        codes.parse_seeds(*parsed(f"generate avatars --output o --seeds {seeds}").seeds)


def test_options_take_several_values_in_every_way():
    """Protects: several values after one option or after each; singular and plural; numbers that look like options."""
    several = parsed("edit avatars --output o --direction a.npy b.npy --strengths -1e-3 0 -.5")
    repeated = parsed("edit avatars --directions a.npy --output o --directions=b.npy --strength -1e-3 --strength 0 -.5")
    assert several == repeated
    assert several.direction == (Path("a.npy"), Path("b.npy")) and several.strengths == (-0.001, 0.0, -0.5)
    one = parsed("intervene avatars --output o --attribute smile eyeglasses --strength 2")
    assert one == parsed("intervene avatars --output o --attributes smile --attribute eyeglasses --strengths 2")
    assert one.attribute == ("smile", "eyeglasses") and one.strengths == (2.0,)


def test_spellings_that_make_no_difference():
    """Protects: underscores in options, capitals in choices, the last of two values, names that begin with a dash."""
    found = parsed("generate --truncation_psi 0.5 --noise-mode None --seeds 0 --output a --output b -- -odd")
    assert (found.truncation_psi, found.noise_mode) == (0.5, "none")
    assert (found.output, found.checkpoint) == (Path("b"), Path("-odd"))
    edit = parsed("edit avatars --output=-o --space w+")
    assert with_spaces(edit, StyleGAN2Generator({}, StyleGAN2Config())).space == "w_plus"
    fit = parsed("fit-direction z.npy --output a.safetensors --space W --latents-space Z")
    assert (with_spaces(fit, None).space, with_spaces(fit, None).latents_space) == ("w", "z")
    with pytest.raises(ValueError, match="space"):
        with_spaces(parsed("edit avatars --output=-o --space y"), None)


@pytest.mark.parametrize(
    ("text", "name"),
    [("black hair", "black_hair"), ("Smile", "smile"), ("blond-hair", "blond_hair"), ("BLACK_HAIR", "black_hair")],
)
def test_attributes_as_people_write_them(text, name):
    assert suggestions.choose(text, ATTRIBUTES, kind="attribute") == name


def test_attributes_that_are_none():
    with pytest.raises(ValueError, match="there is no attribute 'smiel'; perhaps you meant smile; choose from gender,"):
        suggestions.choose("smiel", ATTRIBUTES, kind="attribute")


def test_checkpoints_that_may_have_been_meant(tmp_path, monkeypatch):
    """Protects: the end of the message that there is no checkpoint."""
    monkeypatch.chdir(tmp_path)
    for folder in ("ckpt/ffhq", "runs/photos/generator", "runs/photos/discriminator", "two/cats", "two/dogs"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "config.json").write_text("{}")
    (tmp_path / "a net.pkl").write_bytes(b"")
    expected = {
        "avatar": "perhaps you meant avatars, the built-in generator",
        "Avatars": "perhaps you meant avatars, the built-in generator",
        "ckpt": "perhaps you meant ckpt/ffhq",
        "ckpt/ffhqq": "perhaps you meant ckpt/ffhq",
        "ckpt/ffhq/params": "perhaps you meant ckpt/ffhq",
        "ckpt/ffhq/config.json": "perhaps you meant ckpt/ffhq",
        "runs/photos": "perhaps you meant runs/photos/generator",
        "two": "choose one of those inside: cats, dogs",
        "a net.pkl": "convert it first: python -m weights_convert 'a net.pkl' 'a net'",
        "a net": "convert it first: python -m weights_convert 'a net.pkl' 'a net'",
        "else": "make one with `python -m weights_convert SRC else`",
        "runs": "make one with `python -m weights_convert SRC DIR`",
    }
    assert {path: suggestions.suggest_checkpoint(path) for path in expected} == expected


# Interrupts.

GENERATE = ["jaxedit", "generate", "avatars", "--seeds", "0", "--output", "never", "--cache", "off"]
COMPILING = f"""
    import sys, jax, jax.numpy as jnp
    from jaxedit import __main__, atomic
    from jaxedit.cli import commands

    def compile_for_long(command):
        def function(x):
            for step in range(400):
                x = jnp.sin(x @ x + step)
            return x

        lowered = jax.jit(function).lower(jnp.ones((8, 8)))
        with atomic.replacing("picture.png") as partial:
            partial.write_text("half")
            print("ready", flush=True)
            lowered.compile()

    commands.run, sys.argv = compile_for_long, {GENERATE}
    """
COMPUTING = f"""
    import sys
    from jaxedit import __main__
    from jaxedit.cli import commands

    def compute(command):
        print("ready", flush=True)
        while True:
            sum(range(100))

    commands.run, sys.argv = compute, {GENERATE}
    """
START = """
    __main__.restart_with_huge_pages = lambda: None
    sys.exit(__main__.start())
    """


def started(code, folder):
    """A process that has said that it is ready."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


def stopped(process, number):
    """Seconds till the end after a signal, the exit code, and what was said."""
    time.sleep(0.2)
    start = time.monotonic()
    process.send_signal(number)
    try:
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    return time.monotonic() - start, process.returncode, out, err


@pytest.mark.parametrize("code", [COMPILING, COMPUTING])
@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_ends_at_once(code, number, exit_code, tmp_path):
    """Protects: one line and no traceback; nothing half-written; also while XLA compiles, for a quarter of a minute."""
    seconds, found, out, err = stopped(started(code + START, tmp_path), number)
    assert found == exit_code and not out and not list(tmp_path.iterdir())
    assert err == "interrupted; the same command with --existing skip goes on\n"
    assert seconds < 4  # 2 are promised; the machine that tests may be busy


SAVING = """
    import sys, time
    from jaxedit import interrupts

    with interrupts.watched() as watch:
        try:
            with interrupts.deferred("saving a snapshot") as interrupted:
                print("ready", flush=True)
                while not interrupted():
                    time.sleep(0.01)
                time.sleep(float({seconds}))
                print("saved", flush=True)
            print("not reached")
        except KeyboardInterrupt:
            sys.exit(watch.end())
    """


def test_what_has_to_be_saved_is_saved(tmp_path):
    """Protects: a training that needs longer than two seconds for its snapshot, and says so."""
    _, code, out, err = stopped(started(SAVING.format(seconds=2), tmp_path), signal.SIGINT)
    assert (code, out) == (130, "saved\n")
    assert err == "interrupted: saving a snapshot first; once more ends at once\ninterrupted\n"


def test_a_second_ctrl_c_does_not_wait(tmp_path):
    process = started(SAVING.format(seconds=60), tmp_path)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    seconds, code, out, err = stopped(process, signal.SIGINT)
    assert (code, out, err) == (130, "", "interrupted\n") and seconds < 4


def test_libraries_are_interrupted_as_ever():
    """Protects: `deferred` in library code changes nothing for programs of others; `watched` gives the signals back."""
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interrupts.deferred("saving") as interrupted:
        assert not interrupted()
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interrupts.watched():
        assert signal.getsignal(signal.SIGINT) != before
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before and signal.set_wakeup_fd(-1) == -1


def test_the_command_line_in_a_thread(capsys):
    """Protects: programs of others that call `main` where Python allows no signal handlers."""
    with concurrent.futures.ThreadPoolExecutor() as executor:
        assert executor.submit(cli.main, ["--version"]).result() == 0


def test_what_a_library_makes_of_an_interrupt_is_one(monkeypatch, capsys):
    """Protects: exit code and line when an interrupt arrives as another error."""

    def run(command):
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        raise RuntimeError("while something was imported")

    monkeypatch.setattr("jaxedit.cli.commands.run", run)
    assert cli.main(["info", "avatars"]) == 143
    assert capsys.readouterr().err == "interrupted\n"


# Compiled programs.

SMALL = f"""
    import sys, jax, jax.numpy as jnp
    from jaxedit import __main__
    from jaxedit.cli import commands

    def compile_little(command):
        hits = []
        count = lambda event, **_: hits.append(event) if event.endswith("cache_hits") else None
        jax.monitoring.register_event_listener(count)
        jax.jit(lambda x: jnp.sin(x) + 1)(jnp.ones(3))
        jax.jit(lambda x: jnp.cos(x) + 2)(jnp.ones(3))
        print(len(hits))

    commands.run, sys.argv = compile_little, {GENERATE[:-2]}
    """


def compiling(folder):
    """A process that compiles a little, with this folder for the user's caches."""
    command = [sys.executable, "-c", textwrap.dedent(SMALL + START)]
    changed = environment(XDG_CACHE_HOME=str(folder), HOME=str(folder))
    changed.pop("JAX_COMPILATION_CACHE_DIR", None)
    return subprocess.Popen(command, env=changed, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process):
    """How many programs were not compiled again, and the warnings."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return int(out), err


def test_programs_are_kept_for_the_next_run(tmp_path):
    """Protects: the cache is on; two processes at once and damaged entries do no harm, and entries heal."""
    both = [compiling(tmp_path), compiling(tmp_path)]
    assert [ended(process)[1] for process in both] == ["", ""]
    folder = tmp_path / "jaxedit"
    assert folder.stat().st_mode & 0o777 == 0o700
    kept, warned = ended(compiling(tmp_path))
    assert kept > 2 and not warned
    entries = list(folder.glob("*-cache"))
    for entry in entries:
        entry.write_bytes(entry.read_bytes()[: entry.stat().st_size // 2])
    assert ended(compiling(tmp_path)) == (
        0,
        f"warning: a damaged program in {folder} was removed and is compiled anew\n",
    )
    assert ended(compiling(tmp_path)) == (kept, "")
    assert sorted(folder.glob("*-cache")) == sorted(entries)


@pytest.fixture
def settings():
    """JAX's settings of its cache, which are put back."""
    names = ["jax_compilation_cache_dir", "jax_compilation_cache_max_size", "jax_persistent_cache_enable_xla_caches"]
    names += ["jax_persistent_cache_min_compile_time_secs"]
    before = {name: getattr(jax.config, name) for name in names}
    yield before
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def test_a_cache_that_is_set_already_stays(settings, tmp_path):
    """Protects: JAX_COMPILATION_CACHE_DIR, and programs that have chosen a cache; but an option goes before it."""
    compilation_cache.enable(None)
    assert settings["jax_compilation_cache_dir"]
    assert {name: getattr(jax.config, name) for name in settings} == settings
    compilation_cache.enable(str(tmp_path / "moved"))
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "moved") and (tmp_path / "moved").is_dir()
    compilation_cache.enable("off")
    assert jax.config.jax_compilation_cache_dir is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder, _: folder.chmod(0o777), "others may write to .*chmod go-w"),
        (lambda folder, _: folder.chmod(0o720), "others may write to "),
        (lambda _, patch: patch.setattr(os, "getuid", lambda: 12345678), "belongs to another user"),
        (lambda _, patch: patch.setattr(os, "access", lambda *_: False), "not readable and writable"),
        (lambda folder, _: (folder.rmdir(), folder.write_text("")), "File exists"),
    ],
)
def test_a_folder_that_cannot_be_trusted_or_used_is_not(change, message, tmp_path, monkeypatch, settings):
    """Protects: entries are executed, so others' are not; and the run goes on whatever the folder is like."""
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    change(folder, monkeypatch)
    with pytest.warns(UserWarning, match=f"compiled programs are not kept for the next run: .*{message}"):
        compilation_cache.enable(str(folder))
    assert jax.config.jax_compilation_cache_dir is None


def test_no_home_is_no_error(monkeypatch, settings):
    """Protects: containers whose user has none."""
    monkeypatch.setattr(
        Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("Could not determine home directory."))
    )
    jax.config.update("jax_compilation_cache_dir", None)
    with pytest.warns(UserWarning, match="home directory"):
        compilation_cache.enable(None)


def test_a_folder_that_fails_later_costs_one_warning(tmp_path, monkeypatch, settings, capsys):
    """Protects: a run goes on without the cache when the disk is full or gone, and says so once, in one line."""
    folder = tmp_path / "cache"

    def run(command):
        folder.rmdir()
        folder.write_text("")
        for number in range(3):
            jax.jit(lambda x, number=number: x + number).lower(jax.numpy.ones(3)).compile()

    monkeypatch.setattr("jaxedit.cli.commands.run", run)
    compilation_cache.reset_cache()
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert cli.main([*GENERATE[1:-1], str(folder)]) == 0
    shown = capsys.readouterr().err
    assert shown.startswith(f"warning: compiled programs are not kept for the next run: {folder}: ")
    assert shown.count("\n") == 1


def test_an_entry_without_the_time_of_its_last_use_gets_one(tmp_path, settings):
    """Protects: eviction after a process was killed between the two files of an entry."""
    (tmp_path / "cache").mkdir(mode=0o700)
    (tmp_path / "cache" / "jit_f-0-cache").write_bytes(b"")
    compilation_cache.enable(str(tmp_path / "cache"))
    assert (tmp_path / "cache" / "jit_f-0-atime").read_bytes() == bytes(8)


# What is said in the meantime.


def test_what_takes_long_is_said(monkeypatch, capsys):
    """Protects: a line while something compiles, none if it is there at once."""
    with progress.saying("reading"):
        pass
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    with progress.saying("compiling, about a minute"):
        time.sleep(0.2)
    assert capsys.readouterr().err == "compiling, about a minute ...\n"


def test_bars_begin_when_work_begins(monkeypatch):
    """Protects: a bar's rate does not count the time that compiling the first picture took."""
    came = []
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(progress, "tqdm", lambda items, **_: came.append("bar") or contextlib.nullcontext(items))
    with progress.bar((came.append(n) or n for n in range(3)), total=3, unit="picture", first="compiling") as shown:
        assert came == [0, "bar"] and list(shown) == [0, 1, 2]


def test_logs_have_a_line_now_and_then(monkeypatch, capsys):
    """Protects: that a long run without a terminal is seen to go on, and a short one says nothing."""
    for patience, lines in ((60.0, []), (-1.0, ["1 of 3 steps", "2 of 3 steps", "3 of 3 steps"])):
        monkeypatch.setattr(progress, "_REPORTED", patience)
        with progress.bar(range(3), total=3, unit="step", first="compiling") as shown:
            assert list(shown) == [0, 1, 2]
        assert capsys.readouterr().err.splitlines() == lines


def test_what_is_unfinished_is_removed(tmp_path):
    """Protects: `abandon` for files and directories, and only as long as they are unfinished."""
    with atomic.unfinished(tmp_path / "folder"), atomic.replacing(tmp_path / "done") as partial:
        partial.write_text("")
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "file").write_text("")
        os.link(partial, tmp_path / "kept")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["done", "folder", "kept"]
    with atomic.unfinished(tmp_path / "folder"), atomic.unfinished(tmp_path / "kept"):
        atomic.abandon()
    atomic.abandon()
    assert [path.name for path in tmp_path.iterdir()] == ["done"]
