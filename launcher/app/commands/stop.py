"""`launch stop RUN`: save, then pause; checkpoints stay, and `launch resume` goes on."""

import argparse

from launcher.app.stopping import end_run
from launcher.core.contract import RequestKind


def run(args: argparse.Namespace) -> int:
    return end_run(args, RequestKind.STOP)
