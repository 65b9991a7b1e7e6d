"""The loop of all trainings: no seam where it was stopped, only finite numbers are saved, one process at a time."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit import interrupts
from jaxedit.log import Log, read_rows
from jaxedit.training import resumable, snapshots
from jaxedit.training.folder import holding
from jaxedit.training.supervised import FitConfig

STEPS = 11


def job(folder: Path, **changes: Any) -> resumable.Job:
    """Adds up the numbers of its steps; every third step measures its number, too."""

    def advance(step: int, state: dict) -> tuple[dict, dict]:
        extra = {} if step % 3 else {"number": jnp.float32(step)}
        return {"sum": state["sum"] + step, "key": state["key"]}, {"loss": jnp.float32(0.1) * step, **extra}

    def line(step: int, measured: resumable.Measured, speed: float) -> dict[str, Any]:
        assert speed > 0
        return {name: [row.get(name) for row in measured.values()] for name in ("loss", "number")}

    folder.mkdir(exist_ok=True)
    found = {
        "folder": folder,
        "steps": STEPS,
        "log_steps": 4,
        "snapshot_steps": 3,
        "unit": ("images", 10),
        "remedy": "hope",
        "names": ("loss", "number"),
        "prepare": lambda step, state: (state, advance),
        "line": line,
    }
    return resumable.Job(**found | changes)


def start() -> dict[str, jax.Array]:
    return {"sum": jnp.float32(0.0), "key": jax.random.key(0)}


def changed(folder: Path, at: int, change: Any, **changes: Any) -> resumable.Job:
    """A job whose step `at` is changed: `change` maps the state and the measurements to others."""
    plain = job(folder)
    advance = plain.prepare(0, start())[1]

    def other(step: int, state: dict) -> tuple[dict, dict]:
        result = advance(step, state)
        return change(*result) if step == at else result

    return job(folder, prepare=lambda step, state: (state, other), **changes)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """The folder of a run that nothing stopped."""
    assert resumable.run(job(tmp_path / "whole"), start())["sum"] == sum(range(STEPS))
    return tmp_path / "whole"


@pytest.mark.parametrize("at", range(STEPS))
def test_an_interrupt_leaves_a_snapshot_and_no_seam(at: int, whole: Path, tmp_path: Path, capsys: Any):
    """Protects: the work of hours at Ctrl-C, and the means of the log, wherever between two lines it comes."""

    def interrupt(state: dict, measured: dict) -> tuple[dict, dict]:
        os.kill(os.getpid(), signal.SIGINT)
        return state, measured

    with pytest.raises(KeyboardInterrupt), interrupts.watched():
        resumable.run(changed(tmp_path / "stopped", at, interrupt), start())
    assert snapshots.latest_step(tmp_path / "stopped" / "snapshots") == at + 1
    said = capsys.readouterr().err
    assert f"stopped after {10 * (at + 1)} images; the same command goes on at step {at + 1}" in said
    assert f"step {at + 1} of 11: snapshot after {10 * (at + 1)} images" in said
    resumable.run(job(tmp_path / "stopped"), start())
    said, whole_files, files = capsys.readouterr().err, contents(whole), contents(tmp_path / "stopped")
    assert ("all 110 images are done" if at == STEPS - 1 else f"going on after {10 * (at + 1)} images of 110") in said
    assert files["log.jsonl"] == whole_files["log.jsonl"]
    assert files["snapshots/step_11.safetensors"] == whole_files["snapshots/step_11.safetensors"]


def main(folder: str) -> int:
    """What the process of the next test runs: a step that takes a minute."""

    def slow(state: dict, measured: dict) -> tuple[dict, dict]:
        print("computing", flush=True)
        time.sleep(60)
        return state, measured

    with interrupts.watched() as watch:
        try:
            resumable.run(changed(Path(folder), 5, slow), start())
        except KeyboardInterrupt:
            return watch.end()
    return 0


def test_a_second_interrupt_ends_the_process_at_once(tmp_path: Path):
    """Protects: users who don't want to wait for the step, and the snapshot before it."""
    process = subprocess.Popen(
        [sys.executable, __file__, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout and process.stdout.readline() == b"computing\n"
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(3)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=10)
    assert process.returncode == 130
    assert b"interrupted: saving a snapshot first; once more ends at once" in said
    assert sorted(contents(tmp_path)) == ["log.jsonl", "snapshots/step_3.safetensors"]


SPOILED = {
    "loss of step 6 is nan": lambda state, measured: (state, measured | {"loss": jnp.float32(jnp.nan)}),
    "number of step 6 is inf": lambda state, measured: (state, measured | {"number": jnp.float32(jnp.inf)}),
    "['sum'] after step 6": lambda state, measured: (state | {"sum": jnp.float32(jnp.inf)}, measured),
}


@pytest.mark.parametrize("what", SPOILED)
def test_a_state_that_is_not_finite_never_reaches_a_snapshot(what: str, tmp_path: Path):
    """Protects: the last good snapshot, which spoiled ones would push out. Penalties that are seldom due count, as do
    the parameters after a step whose losses are still finite."""
    for _ in range(2):
        with pytest.raises(ValueError) as raised:
            resumable.run(changed(tmp_path, 5, SPOILED[what]), start())
        message = str(raised.value)
        assert f"not finite any more: {what}; the snapshot of step 3 before it is kept" in message
        assert "the same command would come to the same end: hope may help" in message and "\n" not in message
        assert [path.name for path in (tmp_path / "snapshots").iterdir()] == ["step_3.safetensors"]
    assert resumable.run(job(tmp_path), start())["sum"] == sum(range(STEPS)), "the kept snapshot is good"


def test_without_a_snapshot_the_message_says_so(tmp_path: Path):
    """Protects: nobody looks for a snapshot that there is not."""
    spoiled = changed(tmp_path, 1, lambda state, measured: (state, measured | {"loss": jnp.float32(jnp.nan)}))
    with pytest.raises(ValueError, match="loss of step 2 is nan; there is no snapshot before it"):
        resumable.run(spoiled, start())


def test_what_belongs_to_a_snapshot_is_made_up_for(tmp_path: Path):
    """Protects: pictures of a step whose process was stopped between the snapshot and them."""
    seen: list[int] = []

    def stop(step: int, state: Any, log: Log) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resumable.run(job(tmp_path, after_snapshot=stop), start())
    resumable.run(job(tmp_path, after_snapshot=lambda step, state, log: seen.append(step)), start())
    assert seen == [3, 6, 9, 11]


def test_a_longer_run_has_whole_means(tmp_path: Path):
    """Protects: the line of the log after the last one of a shorter run, which ended between two lines."""
    resumable.run(job(tmp_path, steps=6), start())
    resumable.run(job(tmp_path), start())
    rows = {row["step"]: row["loss"] for row in read_rows(tmp_path / "log.jsonl")}
    assert list(rows) == [4, 6, 8, 11]
    np.testing.assert_allclose(rows[8], [0.4, 0.5, 0.6, 0.7], rtol=1e-6)


def test_a_folder_is_of_one_training_and_one_process(tmp_path: Path):
    """Protects: files of a training that runs, and of one that has other settings."""
    with holding(tmp_path / "out", {"seed": 0}):
        (tmp_path / "out" / ".half.partial").write_bytes(b"being written")
        before = contents(tmp_path / "out")
        with pytest.raises(BlockingIOError, match="out: another run is writing there"):
            with holding(tmp_path / "out", {"seed": 0}):
                pass
        assert contents(tmp_path / "out") == before
    with pytest.raises(
        ValueError, match="out: holds another training .seed is 0 there, not 1.; choose another directory"
    ):
        with holding(tmp_path / "out", {"seed": 1}):
            pass
    with holding(tmp_path / "out", {"seed": 0}):
        pass
    assert list(contents(tmp_path / "out")) == ["run.json"], "what a killed process left is gone"


def test_an_option_that_came_later_had_its_default(tmp_path: Path):
    """Protects: folders of earlier versions, which know less options, from being taken for those of other trainings."""
    config = FitConfig(steps=3)
    with holding(tmp_path, {"config": config, "seed": 0}):
        pass
    record = json.loads((tmp_path / "run.json").read_text())
    del record["config"]["warmup"]
    (tmp_path / "run.json").write_text(json.dumps(record))
    with holding(tmp_path, {"config": config, "seed": 0}):
        pass
    with pytest.raises(ValueError, match="config.warmup is 0.05 there, not 0.5"):
        with holding(tmp_path, {"config": dataclasses.replace(config, warmup=0.5), "seed": 0}):
            pass


@pytest.mark.parametrize("record", [b"", b"{", b"\xff", b"[1]", b"[" * 100_000])
def test_a_damaged_record_is_one_line(record: bytes, tmp_path: Path):
    """Protects: an error that names the file."""
    (tmp_path / "run.json").write_bytes(record)
    with pytest.raises(ValueError, match="^[^\n]*run.json: damaged [^\n]*$"):
        with holding(tmp_path, {"seed": 0}):
            pass


def test_lines_of_a_log_are_json_whatever_they_hold(tmp_path: Path):
    """Protects: programs that read the log: NaN and Infinity are no JSON."""
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1, "loss": NaN}\n')
    with Log(path, lambda row: True) as log:
        log.write({"step": 2, "loss": -np.inf, "more": {"values": [np.inf, 0.5, None]}})

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    rows = [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]
    assert rows == [
        {"step": 1, "loss": "NaN"},
        {"step": 2, "loss": "-Infinity", "more": {"values": ["Infinity", 0.5, None]}},
    ]


def test_a_log_forgets_what_comes_after_its_step(tmp_path: Path):
    """Protects: lines of steps that are taken again, a line that was cut off, and the rest of a damaged file."""
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1}\nnothing\n5\n\xff\x00\n{"step": 2}\n{"step": 3}\n{"step"')
    with Log(path, lambda row: row["step"] <= 2) as log:
        log.write({"step": 3, "loss": 0.5})
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n{"step": 3, "loss": 0.5}\n'


def test_a_full_disk_names_the_log(tmp_path: Path):
    """Protects: the user's search for what it was that could not be written."""
    log = Log(tmp_path / "log.jsonl", lambda row: True)
    log._file.close()
    log._file = open("/dev/full", "a")
    with pytest.raises(OSError, match="No space left on device.*log.jsonl"):
        with log:
            log.write({"step": 1})


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
