"""MobileStyleGAN in OpenVINO, the engine that its users have: the wheel `random_face`'s own files as a contender."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.process import PeerProcess

_SERVER = Path(__file__).with_name("random_face_server.py")


class OpenVinoPeer(PeerProcess):
    """The wheel's synthesis network, for W codes (all rows of W+ alike). It has no gradient."""

    tasks = ("forward",)

    def __init__(self, wheel: Path, python: str, precision: str):
        """Starts the process.

        Args:
            wheel: `random_face-*.whl`.
            python: A Python with OpenVINO and NumPy.
            precision: "float32" or "bfloat16".

        Raises:
            RuntimeError: The process could not start; the message ends with what it printed.
        """
        super().__init__()
        self.start([python, "-W", "ignore", str(_SERVER), str(wheel), precision, str(self.folder)])
