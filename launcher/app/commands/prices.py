"""`launch prices [GPU[:N]]`: what machines cost across clouds, from price lists, without an account and without SkyPilot."""

import argparse
import csv
import math
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from launcher.adapters.market.index import Listing, PriceIndex
from launcher.adapters.market.sources import CLOUDS
from launcher.app.answer import print_answer
from launcher.app.columns import wrapped
from launcher.app.pricelists import check_region, history, price_index, unlisted
from launcher.app.pricing import CSV_COLUMNS, Group, Row, Sort, answer_lines, grouped, list_json, list_lines, ranked, row_json
from launcher.app.pricing import count as count_of
from launcher.app.refreshing import refresh
from launcher.codec import Json
from launcher.core.market.gpus import matching, nearest
from launcher.errors import NoCapacity, UsageError
from launcher.units import Utc

Choice = TypeVar("Choice", Sort, Group)
SHARE_OFF = 0.05  # people write 0.17 for a sixth of a GPU
UNPRICED = ("k8s", "kubernetes", "slurm", "local")


def run(args: argparse.Namespace) -> int:
    home = Path(args.home)
    name, _, count = (args.gpu or "*").partition(":")
    _check_clouds(args)
    if "=" in name:
        raise UsageError(f"`launch prices` takes no {args.gpu}; `launch plan {args.for_recipe or 'RECIPE'} {args.gpu}` does")
    number = _count(args.gpu, count)
    group = _group(args)
    if args.refresh and not args.dry_run:
        refresh(args, home, lambda found: [row.quote for row in _asked_for(args, found.listings(_meant(name, found)), number)])
    index = price_index(home)
    if not index.is_kept:
        _say(args, [f"{home} cannot be written, so the price lists are read anew each time"])
    for region in args.region:
        check_region("--region", region, index, args.cloud or CLOUDS)
    _say(args, unlisted(args.cloud, index))
    if args.history:
        return _history(args, home, _meant(name, index), number)
    listings = _filtered(args, index.listings(_meant(name, index)), number)
    if not listings and number is not None:
        _say(args, _other_counts(_filtered(args, index.listings(_meant(name, index)), None)))
    if args.for_recipe is not None:
        return _for(args, listings, index)
    if args.sort == "total":
        raise UsageError("--sort total is of what it costs to finish something; say what: --for RECIPE")
    sort = _choice("--sort", args.sort, Sort) or (Sort.ON_DEMAND if args.on_demand else Sort.SPOT)
    ordered = ranked(listings, sort)
    rows = [Row(listing=found) for found in ordered] if group is None else grouped(ordered, group)
    _print(args, rows, index, time.time())
    return 0


def _history(args: argparse.Namespace, home: Path, names: tuple[str, ...], count: float | None) -> int:
    from launcher.app.experience import experience
    from launcher.app.pricing_history import learnt_json, learnt_lines, met, past_json, past_lines

    for flag in ("--region", "--sort", "--group-by", "--spot", "--on-demand"):
        if getattr(args, flag.lstrip("-").replace("-", "_")):
            raise UsageError(f"--history is of spot prices by place; leave out {flag}")
    if args.output == "csv":
        raise UsageError("--history has no -o csv; it has table, json, yaml")
    now = time.time()

    def is_asked(cloud: str, accelerators: float) -> bool:
        return (count is None or math.isclose(accelerators, count, rel_tol=SHARE_OFF)) and (not args.cloud or cloud in args.cloud)

    with history(home) as past:
        found = [one for one in past.past(names) if is_asked(one.cloud, one.accelerators)]
    known = experience(home, now)
    _say(args, known.said)
    places = [one for one in met(known.lives, names) if is_asked(one.placement.cloud, one.placement.accelerators)]
    document = {"history": [past_json(one) for one in found], "learnt": [learnt_json(one, known.lives) for one in places]}
    print_answer(args, document, [*past_lines(found, now), *learnt_lines(places, known.lives, now)])
    return 0


def _for(args: argparse.Namespace, listings: list[Listing], index: PriceIndex) -> int:
    """By the cost to finish. What a recipe needs to be read is loaded here only."""
    from launcher.adapters import recipe_file
    from launcher.app.experience import experience
    from launcher.app.pricing_totals import assumptions, total_json, total_lines, withheld_json, withheld_lines
    from launcher.app.pricing_totals import grouped as grouped_totals
    from launcher.core.plan.limits import standing
    from launcher.core.plan.shopping import haul_of, offers_of, totals, unasked
    from launcher.core.plan.sizing import size_lines
    from launcher.core.plan.work import work_of

    if args.sort not in (None, "total"):
        raise UsageError(f"--for ranks by the total; leave out --sort {args.sort}")
    recipe = recipe_file.load(args.for_recipe).recipe
    work, haul = work_of(recipe), haul_of(recipe)
    _say(
        args,
        unlisted((cloud for cloud in CLOUDS if any(cloud == named.partition("/")[0] for named in recipe.resources.infra)), index),
    )
    now = time.time()
    known = experience(Path(args.home), now)
    quotas = standing(recipe, known.market.quotas, now)
    offers = [offer for listing in listings for offer in offers_of(listing.quote, known.lives)]
    found = grouped_totals(totals(recipe, work, haul, offers, quotas), _group(args))
    kept = unasked(recipe, work, haul, offers, quotas)
    sizes = size_lines(recipe, (listing.quote.accelerator for listing in listings))
    if not found:
        remedy = f"`launch plan {args.for_recipe}` names the nearest miss"
        raise NoCapacity("; ".join(["nothing on the price lists fits the recipe", *sizes, *withheld_lines(kept, now), remedy]))
    totalled = [total_json(row) for row in found]
    if args.output == "csv":
        _print_csv(list(totalled[0]), totalled)
        return 0
    clouds = {row.total.offer.placement.cloud for row in found}
    used = {listing.source.number: listing.source for listing in listings if listing.quote.cloud in clouds}
    document = {
        "recipe": recipe.name,
        "work": work.basis,
        "assumed": assumptions(haul),
        "totals": totalled,
        "memory": sizes,
        "withheld": [withheld_json(one) for one in kept],
    }
    lines = total_lines(found, work, haul)
    lines += [line for text in (*withheld_lines(kept, now), *sizes, *list_lines(used.values(), now)) for line in wrapped(text)]
    print_answer(args, {**document, "lists": [list_json(known) for _, known in sorted(used.items())]}, lines)
    return 0


# --- what is asked -------------------------------------------------------------------------------------------------------------


def _meant(name: str, index: PriceIndex) -> tuple[str, ...]:
    known = index.accelerators()
    names = matching(name, known)
    if not names:
        near = nearest(name, known)
        hint = f"did you mean {near}? " if near else ""
        raise UsageError(f"prices {name}: no list has such a GPU; {hint}`launch prices` shows all of them")
    return names


def _count(gpu: str | None, text: str) -> float | None:
    if gpu is None or ":" not in gpu:
        return None
    try:
        count = float(text)
    except ValueError:
        count = 0.0
    if not 0 < count < float("inf"):
        raise UsageError(f"prices {gpu.rstrip(':')}: after the colon stands how many GPUs one machine has, such as H100:8")
    return count


def _other_counts(listings: Iterable[Listing]) -> list[str]:
    """What may be asked for instead; nothing where a machine with any number is not listed either."""
    counts = sorted({count_of(found.quote.accelerators) for found in listings}, key=float)
    return [f"machines are listed with {', '.join(counts)} of them"] if counts else []


def _group(args: argparse.Namespace) -> Group | None:
    """Where no GPU is named the cheapest of each."""
    return _choice("--group-by", args.group_by, Group) or (None if args.gpu else Group.GPU)


def _choice(flag: str, text: str | None, kind: type[Choice]) -> Choice | None:
    if text is None:
        return None
    try:
        return kind(text)
    except ValueError:
        raise UsageError(f"{flag} {text}: write one of {', '.join(choice.value for choice in kind)}") from None


def _check_clouds(args: argparse.Namespace) -> None:
    args.cloud = [cloud.lower() for cloud in args.cloud]
    for cloud in args.cloud:
        if cloud in UNPRICED:
            raise UsageError(f"--cloud {cloud}: no list prices it; what it costs is known to whoever runs it")
        if cloud not in CLOUDS:
            raise UsageError(f"--cloud {cloud}: no list has it; those are {', '.join(CLOUDS)}")


def _filtered(args: argparse.Namespace, listings: Iterable[Listing], count: float | None) -> list[Listing]:
    return [
        found
        for found in _asked_for(args, listings, count)
        if (not args.spot or found.quote.spot is not None) and (not args.on_demand or found.quote.on_demand is not None)
    ]


def _asked_for(args: argparse.Namespace, listings: Iterable[Listing], count: float | None) -> list[Listing]:
    """Whatever their prices are: a live price may be there where none is listed."""
    return [
        found
        for found in listings
        if (count is None or math.isclose(found.quote.accelerators, count, rel_tol=SHARE_OFF))
        and (not args.cloud or found.quote.cloud in args.cloud)
        and (not args.region or found.quote.region in args.region)
    ]


# --- what is answered ----------------------------------------------------------------------------------------------------------


def _print(args: argparse.Namespace, rows: list[Row], index: PriceIndex, now: Utc) -> None:
    if args.output == "csv":
        _print_csv(
            CSV_COLUMNS, ({**row_json(row, now), "doubts": " ".join(d.name.lower() for d in row.quote.doubts)} for row in rows)
        )
        return
    dropped = [{"cloud": cloud, "accelerator": gpu, "reason": why, "rows": num} for cloud, gpu, why, num in index.dropped()]
    lists = [list_json(known) for known in index.lists]
    document = {"offers": [row_json(row, now) for row in rows], "lists": lists, "left_out": dropped}
    print_answer(args, document, answer_lines(rows, now))


def _print_csv(columns: Sequence[str], rows: Iterable[dict[str, Json]]) -> None:
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _say(args: argparse.Namespace, lines: Iterable[str]) -> None:
    if not args.quiet:
        for line in lines:
            print(line, file=sys.stderr)
