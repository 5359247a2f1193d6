"""`scripts/bench store`: a large object on its way to a store and back, beside s3fs's own way and a bare HTTP client.

Each client is a process of its own (`carry`), and they take turns: a machine that others use is never the same twice, so only
what stands in one round is compared, and the median of the rounds is told. The server is `sink`, over TLS, as clouds are reached.
Servers for tests may be named in its place, but they set the pace themselves.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from launcher.units import Bytes, parse_size
from tests.servers.kinds import BUCKET, INSTALLED, KINDS
from tests.servers.running import ROOT, Servers

CLIENTS = ("ours", "s3fs", "raw")
WAYS = ("up", "down")
TIME_MOST = 1.1  # of raw's
MEMORY_MOST: Bytes = 128_000_000
Round = dict[str, dict[str, dict[str, float]]]  # client, way, and of that wall_s, cpu_s, memory


@contextlib.contextmanager
def sink(*, is_tls: bool) -> Iterator[dict[str, str]]:
    """A server of our own for as long as this lasts; the environment that reaches it."""
    with tempfile.TemporaryDirectory() as scratch:
        certificate = _certificate(Path(scratch)) if is_tls else None
        command = [sys.executable, "-m", "scripts.benches.sink", *([str(certificate)] if certificate else [])]
        server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            environment = KINDS["s3"].environment(port)
            if certificate:
                environment |= {"AWS_ENDPOINT_URL_S3": f"https://127.0.0.1:{port}", "AWS_CA_BUNDLE": str(certificate)}
            yield environment
        finally:
            server.terminate()
            server.wait()


def _certificate(folder: Path) -> Path:
    """Key and certificate in one file."""
    key, signed, both = (folder / f"{name}.pem" for name in ("key", "signed", "both"))
    of_this_machine = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    made = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *of_this_machine)
    subprocess.run([*made, "-keyout", str(key), "-out", str(signed)], check=True, stderr=subprocess.DEVNULL)
    both.write_bytes(key.read_bytes() + signed.read_bytes())
    return both


@contextlib.contextmanager
def packaged(name: str) -> Iterator[int]:
    """The port of a server that tests use, for as long as this lasts."""
    servers = Servers(INSTALLED / "logs" / f"bench-{os.getpid()}", os.environ)
    try:
        yield servers.get(name).port
    finally:
        servers.stop(keep_logs=False)


def carried(client: str, number: int, size: Bytes, environment: dict[str, str]) -> dict[str, dict[str, float]]:
    command = [sys.executable, "-m", "scripts.benches.carry", client, BUCKET, f"{client}-{number}", str(size)]
    told = subprocess.run(command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, check=True)
    return dict(zip(WAYS, json.loads(told.stdout), strict=True))


def in_turns(size: Bytes, num_rounds: int, environment: dict[str, str]) -> Iterator[Round]:
    for number in range(num_rounds):
        first = number % len(CLIENTS)  # nobody always is
        yield {client: carried(client, number, size, environment) for client in (*CLIENTS[first:], *CLIENTS[:first])}


def show(rounds: Sequence[Round]) -> bool:
    """The table; whether the goals are met."""

    def ratio(way: str, what: str, to: str) -> float:
        return statistics.median(one["ours"][way][what] / one[to][way][what] for one in rounds)

    def all_three(way: str, what: str, unit: float, digits: int) -> str:
        medians = (statistics.median(one[client][way][what] for one in rounds) / unit for client in CLIENTS)
        return " ".join(f"{median:6.{digits}f}" for median in medians)

    print("        ours to raw     ours to s3fs        MB above base             s                s CPU")
    print("         time    CPU     time    CPU      ours   s3fs    raw    ours   s3fs    raw    ours   s3fs    raw")
    is_good = True
    for way in WAYS:
        ratios = "   ".join(f"{ratio(way, 'wall_s', to):6.2f} {ratio(way, 'cpu_s', to):6.2f}" for to in ("raw", "s3fs"))
        absolute = "  ".join(all_three(way, *told) for told in (("memory", 1e6, 0), ("wall_s", 1, 2), ("cpu_s", 1, 2)))
        print(f"{way:5} {ratios}    {absolute}")
        memory = statistics.median(one["ours"][way]["memory"] for one in rounds)
        is_good = is_good and ratio(way, "wall_s", "raw") <= TIME_MOST and memory <= MEMORY_MOST
    return is_good


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench store", description="One large object, up and down.")
    parser.add_argument("--size", type=parse_size, default=Bytes(10**9), help="such as 256MB; default 1GB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--server", choices=("sink", "sink-http", "s3", "moto"), default="sink")
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        if args.server.startswith("sink"):
            environment = stack.enter_context(sink(is_tls=args.server == "sink"))
        else:
            environment = KINDS[args.server].environment(stack.enter_context(packaged(args.server)))
        rounds = tuple(in_turns(args.size, args.rounds, environment))
    print(f"{args.size / 1e6:.0f} MB, {args.server}, medians of {args.rounds} rounds; load {os.getloadavg()[0]:.1f}")
    return 0 if show(rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
