"""What `launch prices --refresh` does, and says of it: lists fetched anew, live spot prices asked for, changes noted.

A word for each cloud that gives nothing; then the best that is there answers, and shows its age.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.adapters.market.index import PriceIndex
from launcher.adapters.market.live import read_live
from launcher.app import pricelists
from launcher.core.market.quote import Quote
from launcher.errors import UsageError
from launcher.log import redacted
from launcher.units import Utc

if TYPE_CHECKING:
    from launcher.adapters.market.download import Fetched


def refresh(args: argparse.Namespace, home: Path, wanted: Callable[[PriceIndex], Iterable[Quote]]) -> None:
    """All lists anew, and live prices of the `wanted` rows. Raises UsageError where the person's words make no sense."""
    done = _lists(args, home)
    index = pricelists.price_index(home)
    rows = tuple(wanted(index))
    of_lists = tuple(found.quote for found in index.listings({row.accelerator for row in rows}))
    asked_at = time.time()
    live = _live(args, home, rows, of_lists, asked_at)
    alone = tuple(row for row in rows if row.cloud in live and row.cloud not in {found.cloud for found in done})
    if done or alone:
        _remember(args, home, done, _told(alone, of_lists, home, asked_at), asked_at)


def _lists(args: argparse.Namespace, home: Path) -> "list[Fetched]":
    fetched = pricelists.refresh(home)
    done = [found for found in fetched if not found.trouble]
    for word in dict.fromkeys(found.trouble for found in fetched if found.trouble):
        clouds = ", ".join(found.cloud for found in fetched if found.trouble == word)
        _say(args, f"not refreshed: {clouds}: {word}; the best list there is answers")
    if done:  # else nobody can be reached, it seems
        news = [f"{found.cloud} ({'new' if found.is_new else 'unchanged'})" for found in done]
        trouble = pricelists.refresh_bands(home)
        if trouble == "":
            news.append("AWS's interruption bands")
        elif trouble is not None:
            _say(args, f"AWS's interruption bands are not refreshed: {trouble}; those that were there count")
        _say(args, f"refreshed: {', '.join(news)}")
        named = pricelists.places(home)
        hidden = [found.cloud for found in done if named.named_lists(found.cloud)]
        if hidden:
            folder = f"the folder that {pricelists.FOLDER_VARIABLE} names, {named.named}"
            _say(args, f"{folder}, goes before what was fetched: {', '.join(hidden)}; unset it to see the new lists")
    return done


def _live(args: argparse.Namespace, home: Path, rows: tuple[Quote, ...], of_lists: tuple[Quote, ...], asked_at: Utc) -> set[str]:
    """The clouds that told a price of `rows`, which is kept now."""
    asked = pricelists.ask_live(rows)
    told = [one for one in asked if one.spots]
    for one in asked:
        if one.trouble or not one.spots:
            few = f"no more than {len(one.spots)} live prices" if one.spots else "no live prices"
            _say(args, f"{few}: {one.cloud}: {one.trouble or 'it tells none of these rows'}; the list answers for the rest")
    if not told:
        return set()
    try:
        pricelists.keep_live(home, {row: spot for one in told for row, spot in one.spots.items()}, asked_at)
    except OSError as error:
        _say(args, f"live prices cannot be kept in {home}: {error.strerror or error}; the lists answer")
        return set()
    believed = Counter(row.cloud for row in _told(rows, of_lists, home, asked_at))
    counts = {one.cloud: (min(believed[one.cloud], len(one.spots)), len(one.spots)) for one in told}
    news = [f"{cloud} ({num}{'' if num == of else f' to be believed, of {of}'})" for cloud, (num, of) in counts.items()]
    _say(args, f"live spot prices: {', '.join(news)}")
    return {one.cloud for one in told}


def _remember(args: argparse.Namespace, home: Path, done: "list[Fetched]", alone: list[Quote], now: Utc) -> None:
    """Whole lists as they answer now, and of clouds without a fetched list the live rows alone."""
    laid = [one for found in done for one in _laid_over(found.quotes, home)]
    listed, live = ([quote for quote, at in laid if (at is not None) == is_live] for is_live in (False, True))
    try:
        with pricelists.history(home) as past:
            is_first = past.is_empty()
            num = past.add(listed, now, live=[*live, *alone])
    except UsageError as error:  # what was asked for is the answer, not its history
        _say(args, f"not remembered: {error}")
    else:
        _say(args, f"price history: {num} price{'' if num == 1 else 's'} {'noted for the first time' if is_first else 'changed'}")


def _told(rows: tuple[Quote, ...], of_lists: tuple[Quote, ...], home: Path, asked_at: Utc) -> list[Quote]:
    """Those of `rows` that have a live price since then, each judged by the whole list of its cloud."""
    clouds = dict.fromkeys(row.cloud for row in rows)
    laid = (
        one
        for cloud in clouds
        for one in _laid_over(
            [row for row in rows if row.cloud == cloud], home, among=[quote for quote in of_lists if quote.cloud == cloud]
        )
    )
    return [quote for quote, at in laid if at is not None and at >= asked_at]


def _laid_over(
    quotes: Iterable[Quote], home: Path, *, among: Iterable[Quote] | None = None
) -> Iterator[tuple[Quote, Utc | None]]:
    """As they answer now: what another refresh at the same time was told counts too."""
    from launcher.adapters.market.live_rows import overlaid

    return overlaid(quotes, read_live(pricelists.live_path(home), time.time()), among=among)


def _say(args: argparse.Namespace, line: str) -> None:
    """A server's own words may be in it, and the address with its password."""
    if not args.quiet:
        print(redacted(line), file=sys.stderr)
