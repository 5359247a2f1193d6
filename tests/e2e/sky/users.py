"""People at machines of their own: a home, SkyPilot with its records and its server in it, and our command line.

Two of them share the cloud and the bucket, and nothing else: what one has launched, the other's SkyPilot has never heard of.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher.processes import ProcessId, descendants, identify, send

LAB = Path(os.environ["LAB"])  # tests here run by `lab.sh exec` alone
_KEPT = ("HOME", "PATH", "SIM", "PORT", "HOST")
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(("SKYPILOT_", "AWS_", "PIP_"))
}
PORT = "SKYPILOT_API_SERVER_LOCAL_PORT"
SERVER = "sky.server"
CARRIED = (".aws", ".sky/catalogs")  # whoever uses a cloud has credentials, and the lab's price lists stand for the real ones


@dataclass(frozen=True)
class User:
    """`folder`: of what our commands write down."""

    home: Path
    folder: Path
    environment: Mapping[str, str]

    def launch(self, *words: str) -> "Command":
        self.folder.mkdir(parents=True, exist_ok=True)
        number = len(list(self.folder.glob("*.err"))) + 1
        said, answered = self.folder / f"{number}.err", self.folder / f"{number}.out"
        with said.open("wb") as err, answered.open("wb") as out:
            process = subprocess.Popen(["launch", *words], env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        return Command(process, said, answered)

    def answer(self, *words: str) -> str:
        """What a command says that ends by itself."""
        return subprocess.run(
            ["launch", *words], env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        ).stdout

    def kill_server(self) -> None:
        """SkyPilot's, and all below it, without a word of warning."""
        for process in self.servers():
            send(process, signal.SIGKILL)

    def servers(self) -> list[ProcessId]:
        listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
        pids = [
            int(line.split()[0]) for line in listed.splitlines()[1:] if SERVER in line and self._is_mine(int(line.split()[0]))
        ]
        roots = [found for found in map(identify, pids) if found is not None]
        return list({*roots, *(below for root in roots for below in descendants(root.pid))})

    def server(self, word: str) -> None:
        """`start` or `stop`."""
        subprocess.run(["sky", "api", word], env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def launches(self) -> set[Path]:
        """Logs of SkyPilot's server, each begun where it begins to ask for a machine."""
        return set(self.home.glob("sky_logs/*/provision.log"))

    def _is_mine(self, pid: int) -> bool:
        try:
            return f"HOME={self.home}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False


@dataclass(frozen=True)
class Command:
    process: subprocess.Popen[bytes]
    said: Path
    answered: Path

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def ends(self, within_s: float) -> int:
        return self.process.wait(within_s)

    @property
    def told(self) -> str:
        return self.said.read_text() + self.answered.read_text()


def said_by(home: Path, cluster: str, command: str, folder: Path) -> str:
    """By SSH, which takes nobody's word for where a home is: so in SkyPilot's entry it is written out."""
    entry = home / ".sky/generated/ssh" / cluster
    (folder / "ssh_config").write_text(entry.read_text().replace("~/", f"{home}/"))
    asked = ["ssh", "-F", str(folder / "ssh_config"), cluster, command]
    done = subprocess.run(asked, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def of_the_lab(folder: Path) -> User:
    return _user(Path(ENVIRONMENT["HOME"]), folder, ENVIRONMENT[PORT])


def at_another_machine(folder: Path, port: str) -> User:
    """Somebody with the same credentials whose SkyPilot has no records."""
    for name in CARRIED:
        shutil.copytree(Path(ENVIRONMENT["HOME"]) / name, folder / "home" / name)
    return _user(folder / "home", folder, port)


def _user(home: Path, folder: Path, port: str) -> User:
    own = {
        "HOME": str(home),
        PORT: port,
        "LAUNCH_HOME": str(folder / "launch"),
        "XDG_STATE_HOME": str(folder / "state"),
        "LAUNCH_AGENT_PYTHON": str(LAB / "node/bin/python"),
    }
    return User(home=home, folder=folder, environment={**os.environ, **own})
