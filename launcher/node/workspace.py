"""Where things lie on the machine, and what a program is told of them.

Everything is below one folder, the instance's disk; it dies with the machine. The code gets a folder of its own and is where
programs run; the checkpoint folder stays outside of it, so that a program which packs or cleans its own folder does no harm.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import launcher
from launcher.core.checkpoint.manifest import CommitRef
from launcher.core.contract import AttemptSpec, TrainerProgram
from launcher.node.orders import Grant
from launcher.units import Step

SHELL = "bash"
PACKAGE_ROOT = Path(launcher.__file__).parent.parent  # what a trainer of ours must be able to import from

# PyTorch warns at import where NumPy is not installed; our trainers do not need it, and each attempt's log would say so.
WITHOUT_NUMPY = "ignore:Failed to initialize NumPy:UserWarning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    root: Path

    @property
    def code(self) -> Path:
        return self.root / "code"

    @property
    def checkpoint(self) -> Path:
        return self.root / "checkpoint"

    @property
    def trainer(self) -> Path:
        return self.root / "trainer"

    @property
    def notice_file(self) -> Path:
        return self.root / "notice"

    @property
    def chain_file(self) -> Path:
        return self.root / "chain.json"

    def make(self) -> None:
        for folder in (self.code, self.checkpoint, self.trainer):
            folder.mkdir(parents=True, exist_ok=True)
        self.notice_file.unlink(missing_ok=True)

    def write_chain(self, grants: Mapping[int, CommitRef | None]) -> None:
        """The chain of grants for `launcher.train`: {"3": "0002-0005", "1": ""}."""
        named = {str(attempt): "" if parent is None else str(parent) for attempt, parent in grants.items()}
        self.chain_file.write_text(json.dumps(named))


def warm_command(program: TrainerProgram, store: str) -> tuple[str, ...]:
    """A trainer of ours, begun before its grant: node/warm.py."""
    # -P: the user's files must not shadow ours.
    return (sys.executable, "-P", "-W", WITHOUT_NUMPY, "-m", "launcher.node.warm", program.module, store)


def setup_env(base: Mapping[str, str], spec: AttemptSpec, place: Workspace) -> dict[str, str]:
    """What every program of the attempt sees, `setup` included: the machine's environment, the recipe's, and ours."""
    return {
        **base,
        **spec.envs,
        **{f"LAUNCH_DATA_{name.upper()}": url for name, url in spec.data.items()},
        "LAUNCH_RUN_ID": spec.run,
        "LAUNCH_ATTEMPT": str(spec.attempt),
        "LAUNCH_CHECKPOINT_DIR": str(place.checkpoint),
        "LAUNCH_NOTICE_FILE": str(place.notice_file),
    }


def program_env(base: Mapping[str, str], spec: AttemptSpec, place: Workspace, spec_path: Path) -> dict[str, str]:
    """The program contract, and what `launcher.train` needs beyond it (core/contract.py, last section), but for the grant."""
    env = {
        **setup_env(base, spec, place),
        "LAUNCH_TRAINER_DIR": str(place.trainer),
        "LAUNCH_SPEC": str(spec_path),
        "LAUNCH_CHAIN": str(place.chain_file),
    }
    if isinstance(spec.program, TrainerProgram):
        env["LAUNCH_TRAINER"] = json.dumps(spec.program.args)
        paths = (str(PACKAGE_ROOT), env.get("PYTHONPATH", ""), str(place.code))
        env["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return env


def grant_env(grant: Grant, nonce: str, resume_step: Step) -> dict[str, str]:
    """What a program is told of the right to write."""
    return {
        "LAUNCH_RESUME_STEP": str(resume_step),
        "LAUNCH_GRANT": str(grant.number),
        "LAUNCH_PARENT": "" if grant.parent is None else str(grant.parent),
        "LAUNCH_NONCE": nonce,
    }
