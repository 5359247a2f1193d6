"""`launch cancel RUN`: end a run now; checkpoints stay."""

import argparse

from launcher.app.stopping import end_run
from launcher.core.contract import RequestKind


def run(args: argparse.Namespace) -> int:
    return end_run(args, RequestKind.CANCEL)
