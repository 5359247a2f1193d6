"""A trainer that has started and waits for its grant: `python -P -m launcher.node.warm MODULE STORE`.

The right to write passes only when the attempt before has ended, and importing PyTorch takes longer than that. So the process is
begun beforehand and imports, the library of its store too; what it must know of the grant comes as one line of JSON on stdin,
the variables that are still missing; then this process becomes MODULE. Nothing of MODULE itself runs before.
"""

import json
import os
import runpy
import sys

from launcher import train  # brings PyTorch and the checkpoint engine
from launcher.adapters.store.open import prepare


def main(module: str, store: str) -> int:
    prepare(store)
    line = sys.stdin.readline()
    if not line:
        return 0  # the agent ended without a grant
    os.environ.update(json.loads(line))
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    assert train, "imported for its weight"
    sys.exit(main(*sys.argv[1:]))
