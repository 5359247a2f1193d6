"""A stand-in for a trainer of ours as the reference runs it: `python -m reference_trainer`, arguments in LAUNCH_TRAINER."""

import json
import math
import os
import signal
import struct
import sys
import time
from pathlib import Path

from launcher.codec import dumps
from launcher.core.contract import FINAL_FILE, METRICS_FILE, PROGRESS_FILE, TrainerProgress

ARGS = json.loads(os.environ["LAUNCH_TRAINER"])
FOLDER = Path(os.environ["LAUNCH_TRAINER_DIR"])
STEPS = 30


def leave_progress(step: int) -> None:
    progress = TrainerProgress(
        step=step, total_steps=STEPS, first_step_mono=time.monotonic(), startup_cpu_s=0.01, step_s_low=0.5 if step > 1 else None
    )
    (FOLDER / "aside").write_bytes(dumps(progress))
    (FOLDER / "aside").replace(FOLDER / PROGRESS_FILE)


def die_once() -> None:
    mark = FOLDER.parent / "died"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def leave_results() -> None:
    losses = [math.nan if ARGS["mode"] == "diverges" else 1.0 / step for step in range(1, STEPS + 1)]
    (FOLDER / METRICS_FILE).write_text("".join(json.dumps({"step": n, "loss": x}) + "\n" for n, x in enumerate(losses, start=1)))
    header = json.dumps(
        {
            "__metadata__": {"by": "test"},
            "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            "w": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
        }
    ).encode()
    (FOLDER / FINAL_FILE).write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<3f", 1, 2, 3))


assert "LAUNCH_SPEC" not in os.environ
leave_progress(1)
match ARGS["mode"]:
    case "fails":
        sys.exit("no such corpus")
    case "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    case "dies once":
        die_once()
    case "waits":
        leave_progress(20)
        while not (FOLDER.parent / "go").exists():
            time.sleep(0.01)
leave_progress(STEPS)
leave_results()
