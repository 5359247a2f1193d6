"""Everything that can go wrong, by whose fault it is; each branch has its exit code (PRODUCT: exit codes).

LaunchError                     70 unless a branch says otherwise
├── UsageError                  2   the command line
│   └── RecipeError             2   the recipe file
├── NoCapacity                  3   nothing fits within the limits
├── LimitReached                4   a run whose budget or deadline ends it before it had a machine
├── AccessError                 5   credentials, quota or permission
├── StoreError                  6   the checkpoint store
│   ├── KeyExists                   create() found the key taken
│   ├── KeyMissing                  get() found nothing
│   ├── StoreUnknown                no answer within the deadline: the outcome is not known
│   │   └── NoSuchHost                  its address leads nowhere: a wrong name, or no network
│   ├── StoreUnusable               retrying cannot help: no bucket, no space, no create-if-absent
│   │   └── StoreDenied         5       it does not accept who we are, or what we may do
│   └── Damaged                     bytes are there, and they are not what was written
├── OutputError                 74  stdout
├── Overtaken                   7   another supervisor drives this run
├── WorldError                      passing: the loop rides it out
│   ├── CloudUnreachable
│   └── FeedStale
└── Bug                         70  ours
"""


class LaunchError(Exception):
    """Base of all errors this package raises on purpose. `str()` is one sentence for a person, of a RecipeError one a line."""

    exit_code = 70


class UsageError(LaunchError):
    exit_code = 2


class RecipeError(UsageError):
    """A recipe that cannot be accepted. Each argument is one problem: it names key, line and remedy."""

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))


class NoCapacity(LaunchError):
    exit_code = 3


class LimitReached(LaunchError):
    exit_code = 4


class AccessError(LaunchError):
    exit_code = 5


class StoreError(LaunchError):
    exit_code = 6


class KeyExists(StoreError):
    def __init__(self, key: str) -> None:
        super().__init__(f"{key} exists already")
        self.key = key


class KeyMissing(StoreError):
    def __init__(self, key: str) -> None:
        super().__init__(f"{key} does not exist")
        self.key = key


class StoreUnknown(StoreError):
    """The store gave no answer in time. The write may have happened or may happen yet."""


class NoSuchHost(StoreUnknown):
    """The name of the store's host has no address, so nothing can have happened there."""


class StoreUnusable(StoreError):
    """The store refused in a way that no retry mends."""


class StoreDenied(StoreUnusable):
    """Credentials that are missing, wrong or expired, or that lack a permission."""

    exit_code = 5


class Damaged(StoreError):
    """Bytes read are not the bytes written. `key` names the object, `culprit` the part of it that is wrong."""

    def __init__(self, key: str, culprit: str) -> None:
        super().__init__(f"{key} is damaged: {culprit}")
        self.key = key
        self.culprit = culprit


class Overtaken(LaunchError):
    """Another supervisor has written to this run's journal. Stop at once and act no more."""

    exit_code = 7


class OutputError(LaunchError):
    """What was done is done; the answer could not be written."""

    exit_code = 74  # EX_IOERR of sysexits.h


class WorldError(LaunchError):
    """The outside world failed in passing; the loop tries again."""


class CloudUnreachable(WorldError):
    pass


class FeedStale(WorldError):
    pass


class Bug(LaunchError):
    """An invariant of ours does not hold."""
