"""The loop of everything that is trained. It goes on where it was stopped, whatever stopped it, and leaves no seam."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import jax
import numpy as np
from tqdm import tqdm

from jaxedit import interrupts, progress
from jaxedit.log import Log
from jaxedit.training import snapshots
from jaxedit.training.finite import check_measured, check_state

State = TypeVar("State")
Advance = Callable[[int, State], tuple[State, dict[str, Any]]]
Measured = dict[int, dict[str, float]]

_IN_FLIGHT = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job(Generic[State]):
    """A training as the loop sees it.

    Attributes:
        folder: Gets `log.jsonl` and `snapshots/`; held by the caller.
        steps: Number of steps.
        log_steps: Steps between two lines of the log.
        snapshot_steps: Steps between two snapshots.
        unit: What a step is counted in for the user, such as `("images", 16)`.
        remedy: What may help if the numbers are not finite any more.
        names: All numbers that steps may measure.
        prepare: Compiles: maps the number of the first step, from 0, and the state before it to that state as the
            devices need it, and to a function of a step's number and the state, which is given away: the state
            after the step and what the step has measured.
        line: What a line of the log says besides the step: maps the step, what the steps since the last line have
            measured, and steps per second.
        after_snapshot: Does what else belongs to the step of a snapshot. Called for the one that a process begins with,
            too, as the process before may have been stopped in it, so it looks at what is there.
    """

    folder: Path
    steps: int
    log_steps: int
    snapshot_steps: int
    unit: tuple[str, int]
    remedy: str
    names: Sequence[str]
    prepare: Callable[[int, State], tuple[State, Advance[State]]]
    line: Callable[[int, Measured, float], dict[str, Any]]
    after_snapshot: Callable[[int, State, Log], None] = lambda step, state, log: None

    @property
    def snapshots(self) -> Path:
        """Where they are."""
        return self.folder / "snapshots"

    def due(self, step: int, interval: int) -> bool:
        """Whether something is done after a step: at the end everything is."""
        return step % interval == 0 or step == self.steps

    def seen(self, step: int) -> str:
        """How far a step is, such as "20,000 images"."""
        return f"{step * self.unit[1]:,} {self.unit[0]}"


class _Running(NamedTuple):
    """What a snapshot holds.

    Attributes:
        state: After the step.
        measured: Of the steps since the last line of the log: by name `[log_steps]` float32, NaN where there is none.
    """

    state: Any
    measured: dict[str, np.ndarray]


def run(job: Job[State], state: State) -> State:
    """Runs a training to its end.

    The result and the log depend on neither how often nor where it was stopped. Interrupts (see `jaxedit.interrupts`)
    wait for a snapshot of the present step; nothing that is not finite gets into a snapshot.

    Args:
        job: What is trained.
        state: Before the first step; given away.

    Returns:
        The state after the last step.

    Raises:
        ValueError: The numbers are not finite any more, or the snapshots are of another training.
        OSError: Something can't be written.
    """
    step, state, measured = _begin(job, state)
    with Log(job.folder / "log.jsonl", lambda row: row["step"] <= step) as log:
        _say(f"{job.folder}: {_outlook(job, step)}")
        if step:
            job.after_snapshot(step, state, log)
        if step >= job.steps:
            return state
        with progress.saying("compiling, about a minute"):
            state, advance = job.prepare(step, state)
        unit, size = job.unit
        with tqdm(total=job.steps * size, initial=step * size, unit=f" {unit}", disable=None) as shown:
            while step < job.steps:
                with interrupts.deferred("saving a snapshot") as interrupted:
                    step, state = _run_to_snapshot(job, advance, step, state, measured, log, shown, interrupted)
                    if interrupted():
                        _say(f"stopped after {job.seen(step)}; the same command goes on at step {step:,}")
                job.after_snapshot(step, state, log)
    return state


def _begin(job: Job[State], state: State) -> tuple[int, State, dict[int, dict[str, Any]]]:
    """The step to go on at, the state before it, and what the steps since the last line of the log have measured."""
    found = snapshots.latest(job.snapshots, _Running(state, _packed(job, {})))
    return (0, state, {}) if found is None else (found[0], found[1].state, _unpacked(job, *found))


def _outlook(job: Job, step: int) -> str:
    if step >= job.steps:
        return f"all {job.seen(job.steps)} are done"
    where = f"going on after {job.seen(step)} of " if step else ""
    return f"{where}{job.seen(job.steps)}, a snapshot every {job.seen(job.snapshot_steps)}"


def _run_to_snapshot(
    job: Job[State],
    advance: Advance[State],
    step: int,
    state: State,
    measured: dict[int, dict[str, Any]],
    log: Log,
    shown: tqdm,
    interrupted: Callable[[], bool],
) -> tuple[int, State]:
    """Runs till the next snapshot, which an interrupt brings forward. `measured` is of the steps since the last line
    of the log, before and after."""
    last, began, saves = step, time.perf_counter(), False
    while not saves:
        state, measured[step + 1] = advance(step, state)
        step += 1
        jax.block_until_ready(measured.get(step + 1 - _IN_FLIGHT))
        shown.update(job.unit[1])
        logs = job.due(step, job.log_steps)
        saves = job.due(step, job.snapshot_steps) or interrupted()
        if not (logs or saves):
            continue
        numbers = {number: {name: float(value) for name, value in row.items()} for number, row in measured.items()}
        if logs:
            row = job.line(step, numbers, (step - last) / (time.perf_counter() - began))
            log.write({"step": step, **row})
            shown.set_postfix({name: value for name, value in row.items() if name.endswith("loss")})
            last, began = step, time.perf_counter()
        check_measured(job.snapshots, numbers, remedy=job.remedy)
        if step % job.log_steps == 0:
            measured.clear()
        if saves:
            check_state(job.snapshots, step, state, remedy=job.remedy)
            snapshots.save(job.snapshots, step, _Running(state, _packed(job, measured)))
            _say(f"step {step:,} of {job.steps:,}: snapshot after {job.seen(step)}")
    return step, state


def _packed(job: Job, measured: dict[int, dict[str, Any]]) -> dict[str, np.ndarray]:
    """Arrays whose shapes do not depend on how many steps there are since the last line of the log."""
    packed = {name: np.full(job.log_steps, np.nan, np.float32) for name in job.names}
    for number, row in measured.items():
        for name, value in row.items():
            packed[name][(number - 1) % job.log_steps] = value
    return packed


def _unpacked(job: Job, step: int, running: _Running) -> dict[int, dict[str, Any]]:
    """What `_packed` was given in the snapshot of a step: nothing else is NaN there, since that would not be saved."""
    columns = {name: np.asarray(column) for name, column in running.measured.items()}
    return {
        number: {name: column[place] for name, column in columns.items() if not np.isnan(column[place])}
        for number in range(step - step % job.log_steps + 1, step + 1)
        for place in [(number - 1) % job.log_steps]
    }


def _say(text: str) -> None:
    tqdm.write(text, file=sys.stderr)
