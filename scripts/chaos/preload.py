"""A node's own wall clock, and its own slow disk: libraries that it is started with."""

import mmap
import shutil
import subprocess
from pathlib import Path

from fakeclock import FakeClock
from processes import Failure

SOURCE = Path(__file__).with_name("slowdisk.c")
COMPILE_TIMEOUT_S = 60


class Preload:
    """The libraries of one node, in a folder of its own."""

    def __init__(self, folder):
        self.clock = FakeClock(folder)
        library, file = folder / "slowdisk.so", folder / "disk"
        command = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-o", library, SOURCE]
        try:
            subprocess.run(command, check=True, timeout=COMPILE_TIMEOUT_S)
        except (OSError, subprocess.SubprocessError) as error:
            raise Failure(f"{SOURCE.name} does not compile: {error}") from error
        file.write_bytes(bytes(8))
        with open(file, "r+b") as opened:
            self._delay_ns = memoryview(mmap.mmap(opened.fileno(), 8)).cast("q")
        clock = self.clock.environment()
        self.environment = clock | {
            "LD_PRELOAD": f"{clock['LD_PRELOAD']}:{library}",
            "CHAOS_DISK": str(file),
        }

    def delay_syncs(self, milliseconds):
        self._delay_ns[0] = round(milliseconds * 1e6)


def unavailable():
    """Why there are no such libraries on this machine; None if there are."""
    return None if shutil.which("cc") else "no C compiler (cc)"
