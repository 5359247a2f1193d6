"""A trainer that has started and waits for its grant: `python -P -m launcher.node.warm MODULE STORE`.

The right to write passes only when the attempt before has ended, and importing PyTorch takes longer than that. So the process is
begun beforehand and imports, the library of its store too; what it must know of the grant comes as one line of JSON on stdin,
the variables that are still missing; then this process becomes MODULE. Nothing of MODULE itself runs before. A MODULE that is not
there ends it as a shell ends at a command that is not.
"""

import importlib.util
import json
import os
import runpy
import sys

from launcher import train  # brings PyTorch and the checkpoint engine
from launcher.adapters.store.open import prepare
from launcher.core.contract import NOT_FOUND


def main(module: str, store: str) -> int:
    prepare(store)
    line = sys.stdin.readline()
    if not line:
        return 0  # the agent ended without a grant
    os.environ.update(json.loads(line))
    sys.argv = [module]
    if not _is_there(module):
        sys.stderr.write(f"trainer.kind is {module!r}, and no such module can be run here; it was looked for in {sys.path}\n")
        return NOT_FOUND
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


def _is_there(module: str) -> bool:
    """The packages above it are imported for the answer, and would be to run it."""
    try:
        found = importlib.util.find_spec(module)
        is_package = found is not None and found.submodule_search_locations is not None
        return found is not None and (not is_package or importlib.util.find_spec(f"{module}.__main__") is not None)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            return False
        raise  # of what such a package imports


if __name__ == "__main__":
    assert train, "imported for its weight"
    sys.exit(main(*sys.argv[1:]))
