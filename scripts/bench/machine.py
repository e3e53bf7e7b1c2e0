"""The machine and the programs of a run, as far as its figures depend on them."""

import os
import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def describe(data, options):
    """Pairs of what and which, for people. `data` is the folder on the disk that is measured."""
    programs = {
        "redis": ["redis-server", "--version"],
        "workerd": [options.workerd, "--version"],
        "etcd": ["etcd", "--version"],
    }
    found = {
        "processor": f"{os.cpu_count()} cores, {_field('/proc/cpuinfo', 'model name')}",
        "memory": _memory(),
        "kernel": f"{platform.system()} {platform.release()}",
        "disk": _disk(data),
        "system": _field("/etc/os-release", "PRETTY_NAME", "=").strip('"'),
        "tallykeep": f"{_first_line([options.binary, '--version'])}, commit {_commit()}",
        "load": _first_line(["wrk", "--version"]).partition(" [")[0],
    }
    for name, command in programs.items():
        if name in options.systems:
            found[name] = _first_line(command)
    return {what: which for what, which in found.items() if which}


def _first_line(command):
    """The first line that a program prints; empty if it is not there."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout.splitlines() or [""])[0].strip()


def _field(path, name, separator=":"):
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                key, _, value = line.partition(separator)
                if key.strip() == name:
                    return value.strip()
    except OSError:
        pass
    return ""


def _memory():
    kibibytes = _field("/proc/meminfo", "MemTotal").removesuffix("kB").strip()
    return f"{int(kibibytes) / 1024**2:.0f} GiB" if kibibytes.isdigit() else ""


def page_cache():
    """Whether this kernel takes file pages away though memory is free, which makes reads that a
    larger machine's memory would serve go to the disk. Empty if it does not, or does not tell."""
    for state in Path("/sys/kernel/mm/damon/admin/kdamonds").glob("*/state"):
        try:
            schemes = state.parent.glob("contexts/*/schemes/*/action")
            actions = [scheme.read_text() for scheme in schemes]
            if state.read_text().strip() == "on" and "pageout\n" in actions:
                return "the kernel (DAMON) pages out file pages that are not used for a while"
        except OSError:
            continue
    return ""


def _disk(folder):
    """File system and device of a folder."""
    listed = _first_line(["findmnt", "-n", "-o", "FSTYPE,SOURCE", "-T", folder]).split()
    if len(listed) != 2:
        return ""
    return f"{listed[0]} on {listed[1]}"


def _commit():
    commit = _first_line(["git", "-C", ROOT, "rev-parse", "--short=10", "HEAD"])
    changed = _first_line(["git", "-C", ROOT, "status", "--porcelain", "--untracked-files=no"])
    return commit + (" with changes" if changed else "")
