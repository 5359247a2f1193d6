"""What this machine has of what `launch` needs, found without asking anybody."""

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from launcher import __version__
from launcher.adapters.market.sources import CLOUDS, fetched_at
from launcher.app.checkup import Finding, Verdict
from launcher.app.pricelists import places
from launcher.errors import UsageError
from launcher.units import HOUR, Bytes, Seconds, show_duration, show_size

TESTED_PYTHON = "3.11"
DISK_LOW: Bytes = 5 * 10**9  # a rehearsed run keeps a few checkpoints, and the price lists take some 100 MB
LISTS_OLD: Seconds = 7 * 24 * HOUR
_ASKED_MOST_S: Seconds = 5.0


def here(home: Path) -> Iterator[Finding]:
    yield _versions()
    yield _torch()
    yield _gpus()
    yield _disk(home)
    yield _prices(home)


def _versions() -> Finding:
    text = f"launch {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    if sys.platform == "linux" and platform.python_version().startswith(f"{TESTED_PYTHON}."):
        return Finding(check="versions", verdict=Verdict.GOOD, text=text)
    return Finding(check="versions", verdict=Verdict.UNTOLD, text=f"{text}; tested is Linux with Python {TESTED_PYTHON}")


def _torch() -> Finding:
    try:
        return Finding(check="torch", verdict=Verdict.GOOD, text=f"PyTorch {metadata.version('torch')}")
    except metadata.PackageNotFoundError:
        text = "PyTorch is not installed here: our trainers cannot be rehearsed, and no proof can be made"
        return Finding(check="torch", verdict=Verdict.POOR, text=text, remedy="pip install 'spot-launch[train]'")


def _gpus() -> Finding:
    """As the driver's own tool lists them, a line each: "GPU 0: NVIDIA H200 (UUID: …)"."""
    try:
        told = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=_ASKED_MOST_S, check=False)
    except FileNotFoundError:
        return Finding(check="gpus", verdict=Verdict.GOOD, text="none here; a rehearsal trains on the CPU")
    except (OSError, subprocess.TimeoutExpired):
        text, remedy = "nvidia-smi does not answer", "see whether the driver is well"
        return Finding(check="gpus", verdict=Verdict.POOR, text=text, remedy=remedy)
    names = [line.partition(": ")[2].partition(" (UUID")[0] for line in told.stdout.splitlines() if line.startswith("GPU ")]
    if told.returncode or not names:
        text, remedy = "nvidia-smi finds no GPU", "see whether the driver is well"
        return Finding(check="gpus", verdict=Verdict.POOR, text=text, remedy=remedy)
    return Finding(check="gpus", verdict=Verdict.GOOD, text=", ".join(names), figures={"gpus": float(len(names))})


def _disk(home: Path) -> Finding:
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        return Finding(
            check="home",
            verdict=Verdict.BAD,
            text=f"{home} cannot be used: {there} is no folder to write in",
            remedy="name another with --home or LAUNCH_HOME",
            exit_code=UsageError.exit_code,
        )
    free = shutil.disk_usage(there).free
    is_low = free < DISK_LOW
    return Finding(
        check="home",
        verdict=Verdict.POOR if is_low else Verdict.GOOD,
        text=f"{home}, {show_size(free)} free",
        remedy="make room (`launch runs`, then `launch rm RUN`), or name another with --home" if is_low else None,
        figures={"free_bytes": float(free)},
    )


def _prices(home: Path) -> Finding:
    """How old the lists are by which a plan is made: the oldest one of those that are there."""
    try:
        known = places(home)
    except UsageError as error:
        said, _, remedy = str(error).partition("; ")
        return Finding(check="prices", verdict=Verdict.BAD, text=said, remedy=remedy, exit_code=error.exit_code)
    refresh = "`launch prices --refresh`" if known.named is None else "replace its files, or unset LAUNCH_CATALOG"
    best = {cloud: source.path for cloud in CLOUDS for source in list(known.candidates(cloud))[:1]}
    if not best:
        text = "only the bundled list, for rehearsals; a plan for clouds needs theirs"
        return Finding(check="prices", verdict=Verdict.POOR, text=text, remedy=refresh)
    ages = {cloud: _age(path) for cloud, path in best.items()}
    told = ", ".join(f"{cloud} {'of unknown age' if old is None else f'{show_duration(old)} old'}" for cloud, old in ages.items())
    is_old = any(old is None or old > LISTS_OLD for old in ages.values())
    return Finding(
        check="prices",
        verdict=Verdict.POOR if is_old else Verdict.GOOD,
        text=f"lists of {told}",
        remedy=refresh if is_old else None,
        figures={f"{cloud}_age_s": round(old, 1) for cloud, old in ages.items() if old is not None},
    )


def _age(path: Path) -> Seconds | None:
    try:
        at = fetched_at(path, path.read_bytes())
    except OSError:
        return None
    return None if at is None else max(0.0, time.time() - at)
