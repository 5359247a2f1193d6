"""The plan of a recipe for clouds: price lists, what this home has learnt, and what the person says of the job.

Nothing is asked of a cloud, no account is needed and nothing is made; what nobody knows is left out of the totals and said.
"""

import argparse
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from launcher.adapters.market.index import Listing, PriceIndex, PriceList
from launcher.adapters.market.sources import CLOUDS
from launcher.app.experience import Experience, experience
from launcher.app.home import Home, at
from launcher.app.plans import note_on_code, num_steps
from launcher.app.pricelists import foreign_region, price_index, unlisted
from launcher.app.wiring import is_remote, policy_named
from launcher.core.market.chips import CHIPS
from launcher.core.market.gpus import nearest
from launcher.core.market.offer import Placement
from launcher.core.market.quote import Doubt, Quote
from launcher.core.plan.access import locked_out
from launcher.core.plan.hopeless import hopeless, unaffordable
from launcher.core.plan.limits import INSTANCE_TYPE, instance_wanted, lies_in, wanted_accelerators
from launcher.core.plan.outlook import Outlook, outlook
from launcher.core.plan.planner import Plan, plan
from launcher.core.plan.shopping import CLOUD_OF_SCHEME, anywhere, comparable, haul_of, offers_of, times
from launcher.core.plan.sizing import count_for, size_lines
from launcher.core.plan.transfer import Haul, Site
from launcher.core.plan.unpriced import unpriced_offers, unpriced_places
from launcher.core.plan.work import Work, first_gpus, is_ours, work_in, work_of
from launcher.core.recipe import Recipe
from launcher.core.run.events import CheckpointSeen
from launcher.core.run.lessons import program_of
from launcher.errors import LaunchError, NoCapacity, RecipeError, UsageError
from launcher.units import HOUR, Bytes, Seconds, Utc, parse_duration, parse_size, show_duration, show_size

Row = tuple[str, str, str | None, str]  # of a price list: cloud, region, zone, instance

WORK_MOST: Seconds = 3 * 365 * 24 * HOUR  # of a run that is drawn from loss to loss
RUNS_ASKED_MOST = 20  # newest runs of the home that are looked at for the size of a checkpoint
_FLOP = re.compile(r"(\d+(?:\.\d+)?(?:e\+?\d{1,2})?) ?flops?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudPlan:
    """A plan and what it rests on: the job's work, what is moved, the lists that the prices are from."""

    recipe: Recipe
    made: Plan
    work: Work
    haul: Haul
    outlook: Outlook | None
    lists: tuple[PriceList, ...]
    notes: tuple[str, ...]
    at: Utc
    doubts: Mapping[Row, tuple[Doubt, ...]]

    def doubts_of(self, placement: Placement) -> tuple[Doubt, ...]:
        """What speaks against the row of the list that a place is from, beside that it has no spot, as the plan shows."""
        return self.doubts.get((placement.cloud, placement.region, placement.zone, placement.instance), ())


def cloud_plan(args: argparse.Namespace, recipe: Recipe) -> CloudPlan:
    """Raises NoCapacity with the nearest miss where nothing fits, RecipeError and UsageError for what cannot be understood."""
    now, home = time.time(), Path(args.home)
    if recipe.policy.deadline_at is not None and recipe.policy.deadline_at <= now:
        raise RecipeError("policy.deadline has passed already; write a later one, or a duration")
    wanted = anywhere(recipe)
    known = experience(home, now)
    index = price_index(home)
    listings = _listings(wanted, index)
    _check_instance(wanted, listings)
    own = unpriced_offers(recipe, known.lives)
    offers = (*comparable(offer for found in listings for offer in offers_of(found.quote, known.lives)), *own)
    unrated = sorted({found.quote.accelerator for found in listings} - set(CHIPS))
    if not offers and unrated:
        raise NoCapacity(f"nobody has looked up how fast {' and '.join(unrated)} is, so nothing can be ranked; name other GPUs")
    if not offers:
        raise NoCapacity(
            f"no list has a price for {' or '.join(wanted.resources.accelerators)}; `launch prices` shows what there is"
        )
    work, measured = _work(args.work, recipe, known)
    haul, state_from = _haul(args, recipe, home)
    strays = _strays(args, recipe, index)
    _check_residency(recipe, haul)
    policy = policy_named(recipe.policy.strategy)
    made = plan(wanted, offers, times(wanted, work, haul, measured), known.market, policy, now, haul, is_known=work.is_known)
    if not made.candidates:
        raise NoCapacity(f"nothing on the price lists fits the recipe; the nearest is {made.nearest_miss}")
    least = min((c.task.work for c in made.candidates if c.task is not None), default=0.0)
    if least > WORK_MOST:
        raise NoCapacity(
            f"the work takes more than {show_duration(WORK_MOST)} on the fastest machine that fits, and so long a run is not "
            "planned; name more GPUs in resources.accelerators, or write more num_nodes"
        )
    stop = hopeless(recipe, made.task, made.candidates, now, is_known=work.is_known)
    if work.is_known and stop is None:
        stop = unaffordable(recipe, made.task, made.candidates)
    if stop:
        raise NoCapacity(f"{stop} (by the price lists and {_speeds(bool(measured))})")
    return CloudPlan(
        recipe=recipe,
        made=made,
        work=work,
        haul=haul,
        outlook=outlook(wanted, made, haul, now, is_known=work.is_known),
        lists=_used(listings, made),
        notes=(
            *known.said,
            *strays,
            *unlisted(
                (cloud for cloud in CLOUDS if any(cloud == name.partition("/")[0] for name in recipe.resources.infra)), index
            ),
            *size_lines(wanted, (found.quote.accelerator for found in listings)),
            *([f"left out: {', '.join(unrated)}, since nobody has looked up how fast they are"] if unrated else []),
            *_notes(recipe, haul, state_from, bool(measured)),
            *filter(None, [locked_out(recipe, {c.offer.placement.cloud for c in made.candidates})]),
        ),
        at=now,
        doubts=_doubts(found.quote for found in listings),
    )


def _doubts(quotes: Iterable[Quote]) -> dict[Row, tuple[Doubt, ...]]:
    found = {(q.cloud, q.region, q.zone, q.instance): tuple(d for d in q.doubts if d is not Doubt.NO_SPOT) for q in quotes}
    return {row: doubts for row, doubts in found.items() if doubts}


def _listings(recipe: Recipe, index: PriceIndex) -> list[Listing]:
    """Of all GPUs that the recipe may mean. Raises RecipeError where no list has one, with the nearest name."""
    listed = index.accelerators()
    wishes = wanted_accelerators(recipe)
    names = [gpu for gpu in listed if any(count_for(wish, gpu) is not None for wish in wishes)]
    if not names:
        near = nearest(wishes[0].partition(":")[0], listed)
        hint = f"did you mean {near}? " if near else ""
        raise RecipeError(f"resources.accelerators is {', '.join(wishes)}; {hint}`launch prices` shows what the lists have")
    return list(index.listings(names))


def _check_instance(recipe: Recipe, listings: Iterable[Listing]) -> None:
    """Raises RecipeError where the recipe names a machine that no list has with its GPUs."""
    wanted, known = instance_wanted(recipe), sorted({found.quote.instance for found in listings})
    if wanted is None or wanted in known:
        return
    near = get_close_matches(wanted, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise RecipeError(
        f"{INSTANCE_TYPE} is {wanted}, which no list has with the recipe's GPUs; {hint}`launch prices` shows what there is"
    )


def _used(listings: Sequence[Listing], made: Plan) -> tuple[PriceList, ...]:
    """The lists of the clouds that have a candidate."""
    clouds = {c.offer.placement.cloud for c in made.candidates}
    lists = {found.source.number: found.source for found in listings if found.quote.cloud in clouds}
    return tuple(lists[number] for number in sorted(lists))


# --- what is said and known of the job -----------------------------------------------------------------------------------------


def _work(text: str | None, recipe: Recipe, known: Experience) -> tuple[Work, dict[str, Seconds]]:
    """How much is to be trained, and how long it takes on the machines that an earlier run was seen on."""
    if text is not None:
        return _stated(text, recipe), {}
    steps = num_steps(recipe)
    paces = known.paces(recipe) if steps else {}
    measured = {gpus: steps / pace for gpus, pace in paces.items()} if steps else {}
    name, _, count = next((gpus for gpus in measured if gpus.partition(":")[0] in CHIPS), "").partition(":")
    found = work_of(recipe)
    if not name:
        return found, {}
    took = measured[f"{name}:{count}"]
    basis = f"{steps} steps, {show_duration(took)} as measured on {name}:{count}"
    return work_in(took, name, int(count) * recipe.num_nodes, recipe, basis=basis), measured


def _stated(text: str, recipe: Recipe) -> Work:
    """As --work says: hours of the recipe's first GPUs, or operations. Raises UsageError."""
    if found := _FLOP.fullmatch(text.strip()):
        flops = float(found[1])
        if not flops:
            raise UsageError(f"--work {text}: write how many operations there are, such as 3e20flop")
        return Work(flops=flops, reads_16=not is_ours(recipe), basis=f"{flops:.3g} operations, as --work says")
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--work: {error}; or operations, such as 3e20flop") from None
    if not 0 < seconds < 1e9:
        raise UsageError(f"--work {text}: write how long it trains, such as 10h")
    gpu, count = first_gpus(recipe)
    return work_in(seconds, gpu, count, recipe, basis=f"{show_duration(seconds)} of {gpu}:{count}, as --work says")


def _haul(args: argparse.Namespace, recipe: Recipe, home: Path) -> tuple[Haul, str]:
    """What is kept and moved, and whence the size of a checkpoint is known: said, seen in an earlier run, or counted."""
    data, _, source = (args.data or "").partition("@")
    stated = _size("--state", args.state)
    seen = _state_seen(recipe, home) if stated is None else None
    store = _site("--store-in", args.store_in)
    _check_store(recipe, store)
    haul = haul_of(
        recipe,
        state=stated if stated is not None else seen,
        store=store,
        data=_size("--data", data or None),
        source=_site("--data", source or None),
    )
    return haul, "as --state says" if stated is not None else "as in an earlier run" if seen is not None else "counted"


def _strays(args: argparse.Namespace, recipe: Recipe, index: PriceIndex) -> list[str]:
    """What is to be said of regions that no list has. Raises UsageError for those that are misspelt."""
    named = [
        ("--store-in", _site("--store-in", args.store_in)),
        ("--data", _site("--data", (args.data or "").partition("@")[2] or None)),
    ]
    regions = [(flag, site.cloud, site.region) for flag, site in named if site and site.region]
    infra = [text.split("/") for text in recipe.resources.infra]
    regions += [("resources.infra", cloud, rest[0]) for cloud, *rest in infra if cloud in CLOUDS and rest and rest[0] != "*"]
    words = [foreign_region(flag, cloud, region, index) for flag, cloud, region in regions]
    return [word for word in words if word]


def _state_seen(recipe: Recipe, home: Path) -> Bytes | None:
    """The size of the newest checkpoint that a run of the same program left on this machine, rehearsed or not."""
    program = program_of(recipe)
    for entry in Home(home).entries()[:RUNS_ASKED_MOST]:
        if is_remote(entry.store):
            continue  # a plan asks no cloud
        try:
            history = at(entry.store).read()
        except LaunchError:  # gone, or not whole: others may tell
            continue
        sizes = [record.event.size for record in history.records if isinstance(record.event, CheckpointSeen)]
        if sizes and history.is_created and program_of(history.state.recipe) == program:
            return sizes[-1]
    return None


def _check_store(recipe: Recipe, store: Site | None) -> None:
    """Raises UsageError where --store-in names another cloud than the one whose bucket checkpoint.dir is."""
    directory = recipe.checkpoint.dir or ""
    cloud = CLOUD_OF_SCHEME.get(directory.partition("://")[0])
    if store is not None and cloud is not None and store.cloud != cloud:
        raise UsageError(f"--store-in {store}: checkpoint.dir is {directory}, a bucket of {cloud}; write {cloud}/REGION")


def _check_residency(recipe: Recipe, haul: Haul) -> None:
    """Raises RecipeError where checkpoints would lie outside of where the data may be."""
    store = haul.store
    if store is None or store.region is None or not recipe.residency:
        return
    if not any(lies_in(store.cloud, store.region, area) for area in recipe.residency):
        raise RecipeError(
            f"checkpoint.dir lies in {store}, outside data.residency ({', '.join(recipe.residency)}); name a bucket within"
        )


def _size(flag: str, text: str | None) -> Bytes | None:
    if text is None:
        return None
    try:
        return parse_size(text)
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from None


def _site(flag: str, text: str | None) -> Site | None:
    if text is None:
        return None
    cloud, _, region = text.partition("/")
    if not cloud or "/" in region:
        raise UsageError(f"{flag}: {text!r} is no place; write CLOUD/REGION, such as aws/us-east-1")
    if cloud not in CLOUDS:
        raise UsageError(f"{flag}: what {cloud} bills for traffic is not known; clouds are {', '.join(CLOUDS)}")
    return Site(cloud=cloud, region=region or None)


# --- what is said to the person ------------------------------------------------------------------------------------------------


def _speeds(is_measured: bool) -> str:
    return "measured speeds" if is_measured else "speeds by data sheet"


def _notes(recipe: Recipe, haul: Haul, state_from: str, is_measured: bool) -> tuple[str, ...]:
    speeds = "speeds are by data sheet, lives by what is known of the place: good for a ranking, not measured"
    dirless = "checkpoint.dir names no bucket, and a run on clouds needs one; it is taken to be beside the machine"
    known = (*CLOUDS, *unpriced_places(recipe))
    unlisted = [text for text in recipe.resources.infra if text.partition("/")[0] not in known and text not in known]
    notes = (
        "" if is_measured else speeds,
        f"no price list has {' and '.join(unlisted)}: what it costs there is not compared" if unlisted else "",
        _note_on_own(unpriced_places(recipe)),
        _note_on_state(haul, state_from),
        _note_on_data(recipe, haul),
        "" if recipe.checkpoint.dir else dirless,
        note_on_code(recipe),
    )
    return tuple(filter(None, notes))


def _note_on_own(places: Sequence[str]) -> str:
    if not places:
        return ""
    counted = "an hour there is counted as $0, so it comes before every place that has a price"
    return f"{' and '.join(places)}: unpriced, not free; {counted}, and policy.budget bounds nothing there"


def _note_on_state(haul: Haul, state_from: str) -> str:
    if haul.state is None:
        return "nothing is counted for keeping and moving checkpoints: how large one is nobody knows; say so with --state 14GB"
    size = f"a checkpoint is taken to have {show_size(haul.state)}, {state_from}"
    if haul.store is None or haul.store.region is not None:
        return size
    return f"{size}, and to lie in the machine's region of {haul.store.cloud}; --store-in {haul.store.cloud}/REGION says where"


def _note_on_data(recipe: Recipe, haul: Haul) -> str:
    if haul.data is not None:
        return f"each machine is taken to read {show_size(haul.data)} of data anew, from {haul.source or 'its own region'}"
    if not recipe.data:
        return ""
    return "nothing is counted for reading `data`: how much it is nobody knows; say so with --data 500GB@aws/us-east-1"
