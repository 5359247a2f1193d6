"""What may become of one request between a client and a server, and which requests it happens to.

action           what happens                                                         told by
status           answered here; the server never sees the request. A body may be made  status, body
                 of the request's head
drop_response    the server executes it; the client sees a reset (AMBIGUOUS COMMIT)
reset_request    a reset after some bytes of the request's body; the server sees a    after
                 request that was cut
reset_response   a reset after some bytes of the response, its head included          after
truncate         an end after some bytes of the response's body, whose announced      after
                 length stays as it was
corrupt          the top bit of one byte of the response's body is flipped            after
corrupt_request  the same of the request's body                                       after
hold_request     nothing more is passed on after some bytes of the request's body,    after, seconds
                 or before its last one, and a reset in the end
hold_response    the server executes it; the client hears nothing, and a reset in     seconds
                 the end
delay            nothing is passed on for a while                                     seconds
blackhole        accepted, never answered, and reset in the end                       seconds
refuse           reset at once; the server never sees the request
throttle         both directions are slow                                             rate
skew             the server's clock is ahead: 403 RequestTimeTooSkewed where the      seconds
                 request's own time is more than 15 min off
"""

import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from launcher.units import Bytes, Seconds

SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


class Action(StrEnum):
    STATUS = "status"
    DROP_RESPONSE = "drop_response"
    RESET_REQUEST = "reset_request"
    RESET_RESPONSE = "reset_response"
    TRUNCATE = "truncate"
    CORRUPT = "corrupt"
    CORRUPT_REQUEST = "corrupt_request"
    HOLD_REQUEST = "hold_request"
    HOLD_RESPONSE = "hold_response"
    DELAY = "delay"
    BLACKHOLE = "blackhole"
    REFUSE = "refuse"
    THROTTLE = "throttle"
    SKEW = "skew"


@dataclass(slots=True, kw_only=True)
class Fault:
    """One rule: of the requests whose line matches, `skip` pass, then `count` are hit (None: all), each with chance `share`."""

    match: re.Pattern[str]  # searched in the request line, "PUT /bucket/key HTTP/1.1"
    action: Action
    count: int | None = 1
    skip: int = 0
    share: float = 1.0
    dice: random.Random = field(default_factory=lambda: random.Random(0))
    until: Seconds | None = None  # on the monotonic clock
    status: int = 503
    body: bytes | Callable[[str], bytes] = SLOW_DOWN
    after: Bytes = 0
    seconds: Seconds = 3600.0
    rate_bytes_per_s: float = 1e6
    num_hits: int = 0
    is_held: threading.Event = field(default_factory=threading.Event)  # set once a request stands still

    def takes(self, line: str) -> bool:
        """Whether this request is hit; counts it where it is."""
        if not self.match.search(line) or (self.until is not None and time.monotonic() >= self.until):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.count is not None and self.num_hits >= self.count:
            return False
        if self.share < 1.0 and self.dice.random() >= self.share:
            return False
        self.num_hits += 1
        return True


@dataclass(slots=True, kw_only=True)
class Entry:
    """One request that came by."""

    line: str
    headers: dict[str, str]
    fault: Action | None
    at: Seconds = field(default_factory=time.monotonic)
    status: int | None = None  # what the client was answered; None: nothing reached it
    upstream_status: int | None = None  # what the server answered, also where the client never saw it


def seeded(seed: int, share: float, match: str = r".") -> list[Fault]:
    """Faults of the passing kinds that hit `share` of all requests that match, drawn from the seed."""
    dice = random.Random(seed)
    passing = (Action.STATUS, Action.DROP_RESPONSE, Action.RESET_REQUEST, Action.RESET_RESPONSE)
    # Rules are asked in turn, so each takes its part of what those before it left over.
    return [
        Fault(
            match=re.compile(match),
            action=action,
            count=None,
            share=(share / len(passing)) / (1 - share * position / len(passing)),
            dice=random.Random(dice.getrandbits(64)),
        )
        for position, action in enumerate(passing)
    ]
