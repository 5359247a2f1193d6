"""What an hour of a run costs in requests to its bucket: `python -m scripts.benches.requests`, as `scripts/bench store` calls it.

A rehearsal on a real server, the supervisor and the machine each behind a proxy that counts. Its clock runs ten times as fast
as ours, the fastest at which no interval of the loop has to be longer than on a cloud (`core/tempo`), and every ten minutes it
saves. So that each side has an address of its own, the first supervisor is killed once its machine trains, and another goes on.

Prices: S3 Standard, us-east-1: $0.005 for a thousand PUT, POST and LIST, $0.0004 for a thousand GET and HEAD, DELETE free
(aws.amazon.com/s3/pricing; as of November 2026). Traffic within the region is free.
"""

import argparse
import contextlib
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

from launcher.units import HOUR, MINUTE, Seconds, Usd
from scripts.benches.store import packaged
from scripts.drills.scene import Scene, eventually
from tests.servers.kinds import BUCKET, KINDS
from tests.servers.proxy import FaultProxy
from tests.servers.running import ROOT

SPEED = 10
SAVE_EVERY = "10m"
WINDOW_S: Seconds = 2 * 10 * MINUTE / SPEED  # of two saves
NUM_LOOKS = 5  # of the second supervisor before anything is counted
PRICES: dict[str, Usd] = {
    "PUT": 0.005 / 1000,
    "POST": 0.005 / 1000,
    "LIST": 0.005 / 1000,
    "GET": 0.0004 / 1000,
    "HEAD": 0.0004 / 1000,
}
# What a request is about, by its key; the first that fits.
ABOUT = {
    "heartbeat": r"/heartbeat",
    "beacon": r"/supervisor\.json",
    "journal": r"/(journal|segments)/",
    "log of the program": r"/logs?/",
    "checkpoints": r"/(commits|saves|pins)\b|prefix=.*(commits|saves|pins)",
    "notices, claim, exit": r"/(notices?|claim|exit)\b",
    "requests of users": r"requests/",
    "the rehearsal's reference": r"reference",
}
Counts = Counter[tuple[str, str]]  # by what they are about, and method


def counted(proxy: FaultProxy) -> Counts:
    found: Counts = Counter()
    for entry in tuple(proxy.log):
        method, target, _ = entry.line.split(" ", 2)
        name = unquote(target)
        found[
            next((about for about, key in ABOUT.items() if re.search(key, name)), name), "LIST" if "list-type" in name else method
        ] += 1
    return found


def observed(seconds: Seconds) -> dict[str, Counts]:
    """The requests of each role within so many seconds of a machine that trains."""
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        port = stack.enter_context(packaged("s3"))
        agent, supervisor = (stack.enter_context(FaultProxy(port)) for _ in range(2))
        scene = Scene(folder=scratch, run="idle")
        stack.callback(scene.sweep)
        url = f"s3://{BUCKET}/bench"
        words = (f"checkpoint.dir={url}", "trainer.steps=1000000", f"checkpoint.every={SAVE_EVERY}", f"local.speed={SPEED}")
        first = scene.start("train", str(ROOT / "recipes/tiny.yaml"), "-n", "idle", *words, **KINDS["s3"].environment(agent.port))
        eventually(lambda: counted(agent)["checkpoints", "PUT"] > 0 or first.poll() is not None, "a first save")
        first.kill()
        first.communicate()
        second = scene.start("resume", f"{url}/idle", **KINDS["s3"].environment(supervisor.port))
        eventually(lambda: counted(supervisor)["heartbeat", "GET"] > NUM_LOOKS or second.poll() is not None, "it is watched")
        assert second.poll() is None, scene.said()
        for proxy in (agent, supervisor):
            proxy.clear()
        time.sleep(seconds)
        found = {"supervisor": counted(supervisor), "machine": counted(agent)}
        assert second.poll() is None, scene.said()
        second.kill()
        second.communicate()
    return found


def show(found: dict[str, Counts], seconds: Seconds) -> None:
    per_hour = HOUR / (seconds * SPEED)
    watched = f"in {seconds * SPEED / MINUTE:.0f} minutes"
    print(f"requests an hour of a run whose one machine trains and saves every {SAVE_EVERY}, by those {watched}")
    total: Usd = 0.0
    for role, counts in found.items():
        rows = Counter({key: num for key, num in counts.items() if key[0] != "the rehearsal's reference"})
        usd = sum(num * per_hour * PRICES.get(method, 0.0) for (_, method), num in rows.items())
        total += usd
        print(f"{role:12} {sum(rows.values()) * per_hour:6.0f}                          ${usd:.4f}")
        for (about, method), num in rows.most_common():
            print(f"             {num * per_hour:6.0f}  {method:5} {about}")
    print(f"both: ${total:.4f} an hour, ${24 * 30 * total:.2f} a month of 30 days")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.benches.requests", description="Requests an hour, and their price.")
    parser.add_argument("--seconds", type=float, default=WINDOW_S, help="of watching")
    args = parser.parse_args()
    show(observed(args.seconds), args.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
