"""What `launch doctor` finds: a value for each thing it looked at, and several looks at once within one time."""

import enum
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from launcher.errors import StoreError
from launcher.units import Seconds, show_duration

CLOCK_POOR_S: Seconds = 60.0
CLOCK_BAD_S: Seconds = 300.0  # clouds refuse what is 5 to 15 minutes off


class Verdict(enum.Enum):
    GOOD = "ok"
    POOR = "warning"
    BAD = "failed"
    UNTOLD = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`exit_code`: of the command, where what somebody asked for cannot work."""

    check: str
    verdict: Verdict
    text: str
    remedy: str | None = None
    figures: dict[str, float] = field(default_factory=dict)
    exit_code: int = 0


def clock_finding(check: str, ahead: Seconds) -> Finding:
    """`ahead`: how far this machine's clock is before one that is right."""
    text = f"this machine's is {show_duration(abs(ahead))} {'ahead' if ahead > 0 else 'behind'}" if ahead else "agrees"
    verdict = Verdict.BAD if abs(ahead) > CLOCK_BAD_S else Verdict.POOR if abs(ahead) > CLOCK_POOR_S else Verdict.GOOD
    return Finding(
        check=check,
        verdict=verdict,
        text=text,
        remedy=None if verdict is Verdict.GOOD else "set the clock (`timedatectl set-ntp true`)",
        figures={"ahead_s": ahead},
        exit_code=StoreError.exit_code if verdict is Verdict.BAD else 0,
    )


def together(looks: Mapping[str, Iterable[Finding]], within: Seconds) -> Iterator[Finding]:
    """What all looks find, as it comes, each on a thread that ends with the process; the late ones by name at the end."""
    found: queue.Queue[tuple[str, Finding | None]] = queue.Queue()

    def look(name: str, findings: Iterable[Finding]) -> None:
        try:
            for finding in findings:
                found.put((name, finding))
        except Exception as error:  # the top of a thread: a finding like any other
            text = f"could not be looked at: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
            found.put((name, Finding(check=name, verdict=Verdict.UNTOLD, text=text)))
        found.put((name, None))

    for name, findings in looks.items():
        threading.Thread(target=look, args=(name, findings), name=name, daemon=True).start()
    ends_at, open_looks = time.monotonic() + within, set(looks)
    while open_looks:
        try:
            name, finding = found.get(timeout=max(0.0, ends_at - time.monotonic()))
        except queue.Empty:
            break
        if finding is None:
            open_looks.discard(name)
        else:
            yield finding
    for name in sorted(open_looks):
        yield Finding(
            check=name,
            verdict=Verdict.UNTOLD,
            text=f"no answer within {show_duration(within)}",
            remedy="check the network, and try once more",
        )
