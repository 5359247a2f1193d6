"""What of a workdir stays at home: files that git ignores, and those that hold secrets by their name.

Code travels into the bucket and onto every machine. What a person keeps out of a repository is kept out of these too: data,
results, and secrets above all, which travel by name (`secrets:`). SkyPilot leaves out the same when it copies a workdir.
"""

import subprocess
from collections.abc import Callable
from pathlib import Path

from launcher.errors import UsageError
from launcher.units import Seconds

SECRET_NAMES = (".env", ".netrc")  # and `.env.local` and the like
_GIT_ANSWERS_S: Seconds = 60.0
_IGNORED = ("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
NO_REPOSITORY = b"not a git repository (or any"  # of the parents; with a colon it is one whose own folder is lost
NO_GIT = 127  # as env(1) says it
SHOWN_MOST = 3
Stays = Callable[[Path], bool]


def none_stays(path: Path) -> bool:
    return False


def stays_in(folder: Path) -> Stays:
    """What of `folder` stays at home, asked of a folder before what is in it. Raises UsageError where git will not say."""
    absent = set(_ignored(folder))

    def stays(path: Path) -> bool:
        name = path.relative_to(folder).as_posix()
        if _holds_secrets(path.name) or name in absent:
            return True
        if (path / ".git").exists():  # a repository of its own, into which the git of the outer one does not look
            absent.update(f"{name}/{inner}" for inner in _ignored(path))
        return False

    return stays


def _holds_secrets(name: str) -> bool:
    return name in SECRET_NAMES or name.startswith(".env.")


def _ignored(folder: Path) -> frozenset[str]:
    """Files and folders below `folder` that git ignores, relative to it; none where it is in no repository, or git is not here.

    Raises UsageError where git will not say.
    """
    try:
        # Where all is ignored but what is named, and nothing is tracked yet, git takes the root itself for ignored.
        is_root = (folder / ".git").exists()
        if not is_root and _git(folder, "check-ignore", "-q", ".").returncode == 0:
            return frozenset()  # named by the recipe although it lies in what is ignored: then all of it is meant
        told = _git(folder, *_IGNORED)
    except subprocess.TimeoutExpired:
        raise UsageError(f"workdir: git did not say within {_GIT_ANSWERS_S:.0f} s what it ignores in {folder}") from None
    if told.returncode == NO_GIT or NO_REPOSITORY in told.stderr:
        return frozenset()
    if told.returncode != 0:
        why = " ".join(told.stderr.decode(errors="replace").split())  # its last line is the remedy, where it knows one
        raise UsageError(f"workdir: git does not say what it ignores in {folder}, and that is not to travel: {why}")
    return frozenset(name.rstrip("/") for name in told.stdout.decode(errors="surrogateescape").split("\0") if name)


def _git(folder: Path, *words: str) -> "subprocess.CompletedProcess[bytes]":
    command = ["env", "LC_ALL=C", "git", "-C", str(folder), *words]  # in English, to be understood
    return subprocess.run(command, capture_output=True, timeout=_GIT_ANSWERS_S, check=False)


def told(names: list[str]) -> str:
    """For people; empty where nothing stays."""
    if not names:
        return ""
    more = f" and {len(names) - SHOWN_MOST} more" if len(names) > SHOWN_MOST else ""
    shown = ", ".join(names[:SHOWN_MOST])
    why = "since git ignores them or secrets travel by name alone"
    return f"these files of the workdir stay here, {why}: {shown}{more}; `git add -f` takes one along, `secrets:` its values"
