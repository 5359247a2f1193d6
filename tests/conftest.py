"""No test touches the person's own runs, and none leaves a process or a server behind.

Every test gets a home and a register of local instances of its own, and a mark in the environment that all processes started
from it inherit. Whoever still carries the mark when the test is over is killed, and the test fails. What module- and
session-wide fixtures start before carries the session's mark and is looked for at the very end. A server in a thread that is
closed and not shut down takes a core for the rest of the session, so its test fails as well.

Fine print: the mark does not begin with LAUNCH_, since the host of a local instance hands no such variable on. A process that
was told to end may take a moment to do so; only one that is alive after `GRACE_S` is a stray. Linux only, as /proc is.
"""

import os
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

from launcher.processes import kill_marked, marked

MARK = "TEST_THAT_STARTED_ME"
GRACE_S = 20.0  # on a busy machine; only a test that fails waits so long
CREDENTIALS = ("AWS_", "AZURE_", "GOOGLE_", "CLOUDSDK_", "LAUNCH_", "SKYPILOT_", "KUBECONFIG")
# The same examples each time and everywhere; to look for new ones: pytest --hypothesis-profile hunt tests/properties
settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.register_profile("hunt", derandomize=False, deadline=None, database=None, max_examples=2000)
settings.load_profile("same")
TABLES = ("LAUNCH_TRACES", "LAUNCH_CATALOG")  # read-only folders of recorded data that some tests want


@pytest.fixture(autouse=True, scope="session")
def _session_on_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("session")
    with on_its_own(folder):
        yield folder


@pytest.fixture(autouse=True)
def _test_on_its_own(_session_on_its_own: Path) -> Iterator[None]:
    before = threading.enumerate()
    with on_its_own(Path(tempfile.mkdtemp(dir=_session_on_its_own))):
        yield
    if servers := servers_left(before, grace_s=GRACE_S):
        pytest.fail("left servers behind, which nobody has shut down: " + "; ".join(servers), pytrace=False)


@contextmanager
def on_its_own(folder: Path) -> Iterator[None]:
    """An environment of nobody in particular, below `folder`. Fails the test where a process outlives it."""
    mark = uuid.uuid4().hex
    before = _pids()
    with pytest.MonkeyPatch.context() as patch:
        _forget_credentials(patch)
        patch.setenv("HOME", str(folder))
        patch.setenv("LAUNCH_HOME", str(folder / "home"))
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        patch.setenv("NO_COLOR", "1")
        patch.setenv(MARK, mark)
        yield
    # To ask every process for its mark takes longer than most tests do.
    strays = end_strays(mark, grace_s=GRACE_S) if _pids() - before else []
    if strays:
        pytest.fail("left processes behind, now killed: " + "; ".join(strays), pytrace=False)


def end_strays(mark: str, *, grace_s: float) -> list[str]:
    """Kill every process that still carries `mark` after the grace; gives their pids and commands."""
    patience = time.monotonic() + grace_s
    while (living := marked(MARK, mark)) and time.monotonic() < patience:
        time.sleep(0.02)
    commands = [f"{process.pid} {_command(process.pid)}" for process in living]
    if living:
        kill_marked(MARK, mark, at_most=GRACE_S)
    return commands


def servers_left(before: list[threading.Thread], *, grace_s: float) -> list[str]:
    """The threads that were not there before and still serve after the grace."""
    serving = [thread for thread in threading.enumerate() if thread not in before and "serve_forever" in thread.name]
    for thread in serving:
        thread.join(grace_s)
    return [thread.name for thread in serving if thread.is_alive()]


def _forget_credentials(patch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(CREDENTIALS) and name not in TABLES:
            patch.delenv(name)


def _pids() -> set[str]:
    return {name for name in os.listdir("/proc") if name.isdigit()} if sys.platform == "linux" else set()


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "(ended meanwhile)"
