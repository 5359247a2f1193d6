"""Whether somebody comes back to a run with which nobody stays: the last `launch tick` left word when it is due again."""

from launcher import codec
from launcher.adapters.history import History
from launcher.beacon import Holder
from launcher.core.contract import WATCH_KEY
from launcher.core.run.observation import Left
from launcher.errors import StoreError
from launcher.units import MINUTE, Seconds, Utc

LATE_MOST_S: Seconds = 5 * MINUTE  # real; cron comes once a minute, and whoever is later than this does not come


def next_tick(history: History, driver: Holder, now: Utc) -> Utc | None:
    """When it is due, on the market's clock; None where none is awaited."""
    if driver is not Holder.NOBODY or not history.is_created or history.state.is_over:
        return None
    try:
        before: Left = codec.loads_digested(Left, history.store.get(WATCH_KEY))
    except (StoreError, ValueError):  # a hint for the eye
        return None
    is_newest = before.last == history.records[-1].number  # else somebody else drove the run since, or opened it and died
    is_late = before.back_at is None or now > before.back_at + LATE_MOST_S * history.state.speed
    return None if is_late or not is_newest else before.back_at
