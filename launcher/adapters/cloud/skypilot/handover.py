"""Secrets on their way to a machine: a file of ours that SkyPilot copies there, and that the agent reads and deletes.

What SkyPilot is told as secrets stands in plain text in its scripts on the machine for as long as that lives, in the arguments
of its SSH commands, and for a day in its server's database (seen with 0.14.1). A copied file is in none of them.
"""

import json
import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from launcher.adapters.cloud.skypilot.base import ClusterName, Refused
from launcher.core.instance import FailureKind, StartFailure
from launcher.errors import CloudUnreachable


class Handover:
    """Files of this user alone in `folder`, one for each cluster, from before its launch is asked for until that is over.

    `values` are those of the secrets that a recipe names, as far as they are known here.
    """

    def __init__(self, folder: Path, values: Mapping[str, str]) -> None:
        self._folder = folder
        self._values = values

    def put(self, cluster: ClusterName, names: Collection[str]) -> Path | None:
        """What SkyPilot is to copy; None where there is nothing secret. Raises Refused where a value is not known.

        And CloudUnreachable where the folder cannot be written: a full disk passes.
        """
        missing = [name for name in names if name not in self._values]
        if missing:
            told = f"secrets names {' and '.join(missing)}, not set where the run is supervised from"
            raise Refused(StartFailure(failure=FailureKind.CREDENTIALS, message=told))
        if not names:
            return None
        path = self._folder / cluster / "secrets.json"
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                json.dump({name: self._values[name] for name in names}, file)
        except OSError as error:
            raise CloudUnreachable(f"{path.parent} cannot be written: {error.strerror}") from None
        return path

    def drop(self, cluster: ClusterName) -> None:
        shutil.rmtree(self._folder / cluster, ignore_errors=True)
