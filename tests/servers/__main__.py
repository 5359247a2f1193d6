"""The servers by hand; see the package's docstring."""

import argparse
import os
import shlex
import signal
import uuid

from tests.servers.faults import seeded
from tests.servers.kinds import INSTALLED, KINDS
from tests.servers.proxy import FaultProxy
from tests.servers.running import Servers


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.servers")
    parser.add_argument("names", nargs="+", choices=KINDS)
    parser.add_argument("--proxied", action="store_true", help="put a fault proxy in front of each")
    parser.add_argument("--share", type=float, default=0.0, help="of all requests fail; implies --proxied")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()

    servers = Servers(INSTALLED / "logs" / f"by-hand-{os.getpid()}", os.environ)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for name in asked.names:
            show(servers, name, proxied=asked.proxied or asked.share > 0, share=asked.share, seed=asked.seed)
        signal.pause()
    except KeyboardInterrupt:
        print()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C shall not leave half of them running
        servers.stop(keep_logs=False)


def show(servers: Servers, name: str, *, proxied: bool, share: float, seed: int) -> None:
    server = servers.get(name)
    port = server.port
    if proxied:
        proxy = FaultProxy(port).start()
        proxy.extend(seeded(seed, share))
        port = proxy.port
    print(f"# {name}: {server.kind.url(uuid.uuid4().hex[:8])}")
    for variable, value in server.kind.environment(port).items():
        print(f"export {variable}={shlex.quote(value)}", flush=True)


if __name__ == "__main__":
    main()
