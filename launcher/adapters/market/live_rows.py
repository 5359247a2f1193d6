"""Live spot prices laid over a list's rows.

A live price takes the place of the listed one in its own row and no other; the guards apply to it as to a listed price, and one
that cannot be a price leaves the listed one where it is.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

from launcher.adapters.market import guards
from launcher.adapters.market.live import LiveBook, key
from launcher.core.market.quote import Doubt, Quote
from launcher.units import UsdPerHour, Utc


def overlaid(
    quotes: Iterable[Quote], book: LiveBook, *, among: Iterable[Quote] | None = None
) -> Iterator[tuple[Quote, Utc | None]]:
    """Each listed quote, at its live spot price where one is known and can be one; with the instant it was told, else None.

    `among`: the whole list of the cloud that `quotes` are from, which tells what is usual; None: they are all of it.
    """
    if not book.spots:
        yield from ((quote, None) for quote in quotes)
        return
    listed = tuple(quotes)
    usual = guards.usual_prices(listed if among is None else among)
    for quote in listed:
        spot, at = book.spots.get(key(quote), (0.0, None))
        if at is None or not _can_be(spot, quote, *usual[quote.accelerator, quote.accelerators]):
            yield quote, None
        else:
            of_spot = [Doubt.SPOT_FLOOR, Doubt.NO_SPOT]
            of_spot += [Doubt.PLACEHOLDER] if quote.on_demand is not None else []  # else perhaps of that, and it was taken away
            doubts = tuple(doubt for doubt in quote.doubts if doubt not in of_spot)
            yield guards.without_no_spot(replace(quote, spot=spot, doubts=doubts)), at


def _can_be(spot: UsdPerHour, quote: Quote, usual_spot: UsdPerHour, usual_on_demand: UsdPerHour) -> bool:
    """The usual prices are of this kind of machine on the same list, infinite where none is known."""
    on_demand = quote.on_demand or (usual_on_demand if math.isfinite(usual_on_demand) else 0.0)
    return guards.LEAST_SHARE * on_demand < spot < guards.PLACEHOLDER_TIMES * usual_spot
