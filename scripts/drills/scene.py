"""One rehearsed run that may be hurt: a home and a register of instances of its own, and a mark that all its processes carry.

Everything goes through the real command line, in processes of their own; what became of it is read from the run's store and the
register, as a stranger would. The mark is a variable in the environment of the first command: every process that comes from it
inherits it, whatever it does to hide.
"""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from launcher import processes
from launcher.adapters.cloud.local_registry import InstanceFolder, instances_of, run_registry
from launcher.adapters.history import History
from launcher.app.home import Found, at
from launcher.core.checkpoint.manifest import CommitRef, Manifest
from launcher.core.contract import commit_key, commits_prefix
from launcher.observe import read_commit

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
LAUNCH = (sys.executable, "-c", "import sys; from launcher.app.cli import main; sys.exit(main())")
MARK = "DRILL_MARK"  # not LAUNCH_…: the host of an instance hands no such variable on
PATIENCE_S = 200.0  # for anything that is to happen, on a busy machine too; what takes longer hangs
GRACE_S = 10.0  # for processes that were told to end, on a busy machine too
LOOK_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    folder: Path
    run: str
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    # --- commands ---------------------------------------------------------------------------------------------------------

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def environment(self) -> dict[str, str]:
        mine = {
            "LAUNCH_HOME": str(self.home),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "PYTHONPATH": str(ROOT),
            "NO_COLOR": "1",
            MARK: self.mark,
        }
        return {**os.environ, **mine}

    def start(self, *words: str, command: Sequence[str] = LAUNCH, **changes: str) -> subprocess.Popen[str]:
        """A command of this run under way; its stdout is a pipe, its stderr goes to `commands.log`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "commands.log").open("a") as log:
            print("$ launch", *words, file=log, flush=True)
            return subprocess.Popen(
                [*command, *words],
                cwd=self.folder,
                env=self.environment | changes,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def launch(self, *words: str, **changes: str) -> "Answer":
        return answer_of(self.start(*words, **changes))

    def said(self) -> str:
        """All that was said on stderr so far."""
        return (self.folder / "commands.log").read_text()

    # --- what became of it ------------------------------------------------------------------------------------------------

    @property
    def store(self) -> Path:
        return self.home / "runs" / self.run

    @property
    def is_born(self) -> bool:
        return (self.store / "run.json").exists()

    def found(self) -> Found:
        return at(self.store.as_uri())

    def history(self) -> History:
        return self.found().read()

    def manifests(self, attempt: int) -> Iterator[Manifest]:
        """The commits of an attempt, upwards; unreadable ones and the seal left out."""
        store = self.found().store
        for meta in store.list(commits_prefix(attempt)):
            found = read_commit(store, CommitRef(attempt, int(Path(meta.key).stem)))
            if isinstance(found, Manifest):
                yield found

    def commit_path(self, ref: CommitRef) -> Path:
        return self.store / commit_key(ref)

    @property
    def registry(self) -> Path:
        return run_registry(self.folder / "state", self.found().head.incarnation)

    def instances(self) -> tuple[InstanceFolder, ...]:
        return instances_of(self.registry) if self.is_born else ()

    def living(self) -> tuple[processes.ProcessId, ...]:
        return processes.marked(MARK, self.mark)

    def sweep(self) -> tuple[processes.ProcessId, ...]:
        """Kill whatever of the run still lives after a grace; gives what did."""
        end = time.monotonic() + GRACE_S
        while (strays := self.living()) and time.monotonic() < end:
            time.sleep(LOOK_S)
        processes.kill_marked(MARK, self.mark, at_most=PATIENCE_S)
        return strays


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command said on stdout, and how it ended (negative: of a signal)."""

    code: int
    text: str

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.text))


def answer_of(process: subprocess.Popen[str], at_most: float = PATIENCE_S) -> Answer:
    """Waits for the command's end. Raises TimeoutExpired, the command killed."""
    try:
        text, _ = process.communicate(timeout=at_most)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Answer(code=process.returncode, text=text)


def eventually(look: Callable[[], T | None], what: str, *, at_most: float = PATIENCE_S) -> T:
    """The first thing that `look` finds. Raises TimeoutError."""
    end = time.monotonic() + at_most
    while not (found := look()):
        if time.monotonic() > end:
            raise TimeoutError(f"did not happen in {at_most:.0f} s: {what}")
        time.sleep(LOOK_S)
    return found
