"""Server processes: starting, finding and ending them, and the CPU time they take."""

import os
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
POLL_S = 0.02
STOP_TIMEOUT_S = 10


class Failure(Exception):
    """A system could not be started, loaded or stopped; the message says why, for people."""


def listens(port):
    """Whether somebody listens at this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition, timeout_s, what):
    """Waits until `condition()` is true; an OSError in it means not yet. Fails at the deadline."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not within {timeout_s} s")
        time.sleep(POLL_S)


def last_lines(log):
    """The end of a log, as the rest of a message."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "".join(f"\n  | {line}" for line in text.splitlines()[-5:])


def start_ticks(pid):
    """When a process started, in ticks since the boot; None if there is none, or a zombie."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in "ZX" else int(fields[19])


def cpu_seconds(pids):
    """User and system time of these processes and of the children they waited for, in seconds."""
    ticks = 0
    for pid in pids:
        fields = _stat(pid)
        if fields is None:
            raise Failure(f"process {pid} has ended")
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / TICKS_PER_SECOND


def machine_cpu_seconds():
    """Busy and stolen time of all cores since the boot, in seconds."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = map(
            int, file.readline().split()[1:]
        )
    busy = user + nice + system + irq + softirq
    return busy / TICKS_PER_SECOND, steal / TICKS_PER_SECOND


def own_cpu_seconds():
    """CPU time of this process and of its children that have ended: the generators."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _stat(pid):
    """The fields of /proc/PID/stat from the third, `state`, on; None if there is no such process.

    The second, the command's name in brackets, may hold blanks and brackets itself."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


class Servers:
    """The processes of one system, started by us and ended by us, by their pids alone."""

    def __init__(self, folder):
        self.folder = folder
        self.started = []

    def spawn(self, name, command, env=None):
        """Starts a process; its output goes to NAME.log in the folder."""
        with open(self.folder / f"{name}.log", "ab") as log:
            try:
                process = subprocess.Popen(
                    [str(part) for part in command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                    env=env,
                    # Ctrl-C is for us; the servers end when we say so.
                    start_new_session=True,
                )
            except OSError as error:
                raise Failure(f"{command[0]} does not start: {error}") from error
        self.started.append((name, process))

    def pids(self):
        return [process.pid for _, process in self.started]

    def check_alive(self):
        """Fails, with the last lines of its log, if a process has ended."""
        for name, process in self.started:
            code = process.poll()
            if code is not None:
                lines = last_lines(self.folder / f"{name}.log")
                raise Failure(f"{name} ended with code {code}{lines}")

    def wait_until(self, condition, timeout_s, what):
        """As the function of this name, but fails at once when a process ends."""

        def alive_and_met():
            self.check_alive()
            return condition()

        wait_until(alive_and_met, timeout_s, what)

    def stop(self):
        """SIGTERM, and SIGKILL for what is still there after a while."""
        self.stop_all([self])

    def kill(self):
        """SIGKILL."""
        for _, process in self.started:
            process.kill()
            process.wait()
        self.started = []

    @staticmethod
    def stop_all(several, timeout_s=STOP_TIMEOUT_S):
        """As `stop`, of several systems at once."""
        started = [process for servers in several for _, process in servers.started]
        for process in started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + timeout_s
        for process in started:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for servers in several:
            servers.started = []
