"""A wall clock of another day, for the nodes alone: see wallclock.c.

The servers stamp their entries, so entries of other days need servers that are on other days."""

import mmap
import subprocess
import time
from pathlib import Path

from processes import Failure

SOURCE = Path(__file__).with_name("wallclock.c")
COMPILE_TIMEOUT_S = 60


class FakeClock:
    """A wall clock that several processes share."""

    def __init__(self, folder):
        self.library = folder / "wallclock.so"
        self.file = folder / "clock"
        command = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-o", self.library, SOURCE]
        try:
            subprocess.run(command, check=True, timeout=COMPILE_TIMEOUT_S)
        except (OSError, subprocess.SubprocessError) as error:
            raise Failure(f"{SOURCE.name} does not compile: {error}") from error
        self.file.write_bytes(bytes(8))
        with open(self.file, "r+b") as file:
            # A store of 8 bytes at an even address: nobody reads half of it.
            self.shift_ns = memoryview(mmap.mmap(file.fileno(), 8)).cast("q")

    def environment(self):
        """What a process needs in its environment to go by this clock."""
        return {"LD_PRELOAD": str(self.library), "BENCH_CLOCK": str(self.file)}

    def set(self, now_s):
        """From now on the clock goes on from that time, in seconds since the Unix epoch."""
        self.shift_ns[0] = round(now_s * 1e9) - time.time_ns()

    def jump(self, seconds):
        """Moves the clock by so much from where it stands."""
        self.shift_ns[0] += round(seconds * 1e9)
