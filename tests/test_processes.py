"""Several processes at once: what one process computes and writes does not depend on the others.

They are joined by `jax.distributed`, each with two devices of its own: what looks at all devices instead of the local
ones fails or hangs here.
"""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import killing
import pytest

import jaxedit
from jaxedit import claims, cli

SEEDS = range(6)
PROCESSES = 2


def main(number: str, coordinator: str, checkpoint: str, output: str, *fitting: str) -> None:
    """One of the processes: draws its share of the seeds into a common folder, then trains in a folder of its own."""
    import jax

    jax.config.update("jax_num_cpu_devices", 2)
    if coordinator:
        jax.distributed.initialize(coordinator, PROCESSES, int(number))
        assert (jax.device_count(), jax.local_device_count()) == (2 * PROCESSES, 2)
    import test_gan_loop
    import test_supervised

    from jaxedit import batch
    from jaxedit.training import loop

    generator = jaxedit.load(checkpoint)
    assert {device for leaf in jax.tree.leaves(generator) for device in leaf.devices()} == {jax.local_devices()[0]}
    own = SEEDS[int(number) :: PROCESSES] if coordinator else SEEDS
    latents = [jaxedit.sample_z(seed, generator.config.z_dim) for seed in own]
    with batch.PngWriter() as writer:
        for seed, one in zip(own, batch.map_samples(draw, generator, latents, batch_size=2), strict=True):
            assert one.finite
            writer.write(Path(output, f"{seed}.png"), one.image)
            writer.write(Path(output, "everybody.png"), one.image * 0)
    folder = Path(output, f"process{number}")
    folder.mkdir()
    test_supervised.fit(folder / "fit")
    for _ in range(2):  # the second time from its snapshot
        loop.train(
            test_gan_loop.reals,
            config=test_gan_loop.CONFIG,
            schedule=test_gan_loop.SCHEDULE,
            output=folder / "gan",
            seed=0,
            data="noise",
        )
    if coordinator:
        jax.distributed.shutdown()


def draw(generator, z):
    from jaxedit import batch

    return batch.drawn(generator.synthesize(generator.styles(generator.map(z))))


def start(number: int, coordinator: str, checkpoint: Path, output: Path, cache: Path) -> subprocess.Popen:
    output.mkdir(exist_ok=True)
    own = [__file__, str(number), coordinator, str(checkpoint), str(output)]
    return subprocess.Popen([sys.executable, *own], env=killing.environment(cache))


@pytest.fixture(scope="module")
def outputs(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """What one process has written, and what two have."""
    folder = tmp_path_factory.mktemp("processes")
    alone = start(0, "", checkpoint, folder / "one", folder / "cache")
    assert alone.wait(600) == 0
    with socket.create_server(("127.0.0.1", 0)) as free:
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    both = [start(number, coordinator, checkpoint, folder / "two", folder / "cache") for number in range(PROCESSES)]
    assert [process.wait(600) for process in both] == [0, 0]
    yield folder / "one", folder / "two"


@pytest.mark.slow
def test_two_processes_draw_and_train_what_one_does(outputs: tuple[Path, Path]):
    """Protects: runs on many hosts: pictures, snapshots and networks to the last bit, and nothing half-written."""
    one, two = (killing.contents(output) for output in outputs)
    others = {name.replace("process0", "process1"): content for name, content in one.items() if "process0" in name}
    assert len(one) > 20 and two == one | others


def test_nothing_looks_at_the_devices_of_other_processes():
    """Protects: runs on many hosts, without starting any."""
    for path in Path(jaxedit.__file__).parent.rglob("*.py"):
        assert not re.search(r"jax\.(devices|device_count|process_\w+)\(", path.read_text(encoding="utf-8")), path


def test_intervene_claims_its_folder(tmp_path: Path, capsys):
    """Protects: the log of a run that is writing to the folder, and what it has not finished."""
    output = tmp_path / "out"
    with claims.claiming(output):
        (output / ".half.partial").touch()
        assert cli.main(["intervene", "avatars", "--attribute", "smile", "--seeds", "0", "--output", str(output)]) == 1
        assert "out: another run is writing there; wait for it or choose another output" in capsys.readouterr().err
        assert (output / ".half.partial").exists()


if __name__ == "__main__":
    main(*sys.argv[1:])
