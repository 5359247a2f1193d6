"""What the agent told the trainer's process: its attempt, its grant, its arguments, and where to speak and to listen.

All of it comes through the environment (core/contract.py, last section), and all of it is absent in a script run by hand.
"""

import difflib
import json
import os
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from launcher import codec
from launcher.core.checkpoint.manifest import CommitRef
from launcher.core.contract import AttemptSpec

T = TypeVar("T")

EXIT_USAGE = 2  # as the command line's


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    spec: AttemptSpec | None = None
    grant: int = 0
    parent: CommitRef | None = None
    nonce: str = ""
    grants: dict[int, CommitRef | None] = field(default_factory=dict)
    notice_file: str | None = None
    folder: Path | None = None  # for progress and, without an agent, for the results

    @staticmethod
    def read() -> "Surroundings":
        env = os.environ
        folder = Path(env["LAUNCH_TRAINER_DIR"]) if "LAUNCH_TRAINER_DIR" in env else None
        if "LAUNCH_SPEC" not in env:
            return Surroundings(folder=folder)
        spec: AttemptSpec = codec.loads(AttemptSpec, Path(env["LAUNCH_SPEC"]).read_bytes())
        parent = _ref(env.get("LAUNCH_PARENT", ""))
        chain: dict[str, str] = json.loads(Path(env["LAUNCH_CHAIN"]).read_bytes()) if "LAUNCH_CHAIN" in env else {}
        return Surroundings(
            spec=spec,
            grant=int(env["LAUNCH_GRANT"]),
            parent=parent,
            nonce=env["LAUNCH_NONCE"],
            grants={int(attempt): _ref(ref) for attempt, ref in chain.items()} | {spec.attempt: parent},
            notice_file=env.get("LAUNCH_NOTICE_FILE"),
            folder=folder,
        )


def _ref(text: str) -> CommitRef | None:
    return CommitRef.parse(text) if text else None


def arguments(kind: type[T]) -> T:
    """The recipe's `trainer:` arguments as a frozen dataclass with defaults. Ends the process with 2 where they do not fit."""
    raw: dict[str, Any] = json.loads(os.environ.get("LAUNCH_TRAINER", "{}"))
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    for name in raw:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it knows {', '.join(known)}"
            _refuse(f"trainer.{name} is not an argument of this trainer; {hint}")
    try:
        return codec.decode(kind, raw)
    except ValueError as error:
        _refuse(f"trainer: {error}")


def _refuse(text: str) -> NoReturn:
    sys.stderr.write(f"launch: {text}\n")
    raise SystemExit(EXIT_USAGE)
