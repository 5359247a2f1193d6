"""Starting servers on free ports of this machine, and ending them by process id.

A server is bound to whoever started it: where that process is killed, the kernel ends the server too.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher.units import Seconds
from tests.servers.kinds import KINDS, Kind

ROOT = Path(__file__).parents[2]
_LEASH = ROOT / "launcher" / "node" / "leash.py"
_UP_WITHIN_S: Seconds = 60.0  # moto takes eight on a busy machine
_DOWN_WITHIN_S: Seconds = 10.0
_NUM_TRIES = 3  # another process may take the port between our choice and the server's start


@dataclass(frozen=True, slots=True)
class Server:
    kind: Kind
    port: int
    process: subprocess.Popen[bytes]


class Servers:
    """Each started when first asked for, all stopped together. Logs lie in `logs` and are kept unless told otherwise."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self._logs = logs
        self._environment = dict(environment)
        self._running: dict[str, Server] = {}

    def get(self, name: str) -> Server:
        if name not in self._running:
            self._running[name] = self._started(KINDS[name])
        return self._running[name]

    def stop(self, *, keep_logs: bool) -> None:
        for server in self._running.values():
            server.process.terminate()
        for server in self._running.values():
            try:
                server.process.wait(_DOWN_WITHIN_S)
            except subprocess.TimeoutExpired:
                server.process.kill()
                server.process.wait()
        self._running.clear()
        if not keep_logs:
            shutil.rmtree(self._logs, ignore_errors=True)

    def _started(self, kind: Kind) -> Server:
        if not kind.needs.exists():
            raise RuntimeError(f"{kind.name} is not installed: {kind.needs} is missing; run: make servers")
        for _ in range(_NUM_TRIES):
            server = self._try(kind)
            if _answers(server):
                kind.make_bucket(server.port)
                return server
            server.process.kill()
            server.process.wait()
        raise RuntimeError(f"{kind.name} does not start; see {self._log_of(kind)}")

    def _try(self, kind: Kind) -> Server:
        port = _free_port()
        command = [sys.executable, "-I", "-S", str(_LEASH), str(os.getpid()), *kind.command(port)]
        self._logs.mkdir(parents=True, exist_ok=True)
        scratch = self._logs / kind.name
        scratch.mkdir(exist_ok=True)
        # SERVICES and S3_DATA_DIR are ministack's. Whatever a server keeps on disk lies beside its log.
        kept = {name: str(scratch) for name in ("S3_DATA_DIR", "TMPDIR", "HOME")}
        environment = {**self._environment, "SERVICES": "s3", **kept}
        with self._log_of(kind).open("ab") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        return Server(kind, port, process)

    def _log_of(self, kind: Kind) -> Path:
        return self._logs / f"{kind.name}.log"


def _answers(server: Server) -> bool:
    """Wait until it answers anything at all; False where it ended or stayed silent."""
    patience = time.monotonic() + _UP_WITHIN_S
    while server.process.poll() is None and time.monotonic() < patience:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/", timeout=5).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            time.sleep(0.1)
        else:
            return True
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
