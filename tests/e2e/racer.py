"""One of several processes that race to create the same keys: `python -m tests.e2e.racer URL NAME RACES`.

It says "ready", and at a line on stdin runs all races; it prints those it was told it won, and at the next line whose bytes it
reads in each.
"""

import json
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor

from launcher.adapters.store.base import ObjectStore
from launcher.adapters.store.open import open_store
from launcher.errors import KeyExists

NUM_THREADS = 8  # share one store, as those of an agent do


def main(url: str, name: str, num_races: int) -> None:
    store = open_store(url)
    list(store.list(name))  # so that all are connected when the first race begins
    print("ready", flush=True)
    sys.stdin.readline()
    with ThreadPoolExecutor(NUM_THREADS) as threads:
        wins = threads.map(lambda race: is_won(store, race, name), range(num_races))
        print(json.dumps([race for race, is_mine in enumerate(wins) if is_mine]), flush=True)
    sys.stdin.readline()
    print(json.dumps([store.get(key_of(race)).split(maxsplit=1)[0].decode() for race in range(num_races)]))


def is_won(store: ObjectStore, race: int, name: str) -> bool:
    try:
        store.create(key_of(race), f"{name} {uuid.uuid4()}".encode() * 50)
    except KeyExists:
        return False
    return True


def key_of(race: int) -> str:
    return f"race/{race}"


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
