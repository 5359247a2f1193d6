"""A stand-in for the agent: run as `python local_agent.py MODE SPEC`; leaves what the tests look for beside the spec."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def tell(folder: Path, name: str, content: object) -> None:
    aside = folder / f"{name}.{os.getpid()}"
    aside.write_text(json.dumps(content))
    aside.replace(folder / name)


def deaf_child() -> int:
    return subprocess.Popen([sys.executable, "-S", "-c", DEAF]).pid


def orphan() -> int:
    """A process in a session of its own whose parent has ended."""
    script = (
        "import subprocess as s, sys;"
        f"print(s.Popen([sys.executable, '-S', '-c', {DEAF!r}], stdout=s.DEVNULL, start_new_session=True).pid)"
    )
    return int(subprocess.run([sys.executable, "-S", "-c", script], stdout=subprocess.PIPE, check=True).stdout)


def main(mode: str, spec: Path) -> None:
    folder = spec.parent
    with (folder / "agents").open("a") as agents:
        agents.write(f"{os.getpid()}\n")
    match mode:
        case "tree":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            tell(folder, "tree", [os.getpid(), deaf_child(), orphan()])
            time.sleep(600)
        case "polite":
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            tell(folder, "tree", [os.getpid()])
            time.sleep(600)
        case "fails":
            tell(folder, "tree", [os.getpid(), deaf_child(), orphan()])
            sys.exit(3)
        case "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        case "looks":
            tell(folder, "seen", {"env": {k: v for k, v in os.environ.items() if k.startswith("LAUNCH_")}, "cwd": os.getcwd()})
            while not Path(os.environ["LAUNCH_NOTICE_SOURCE"]).exists():
                time.sleep(0.01)
            tell(folder, "noticed", json.loads(Path(os.environ["LAUNCH_NOTICE_SOURCE"]).read_text()))
            time.sleep(600)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
