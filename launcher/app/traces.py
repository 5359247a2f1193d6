"""The markets that `launch simulate` plays: bundled traces as a rehearsal meets them, files as they were, runs as they went.

A bundled trace is another market with each seed. A file is one market; the seed says where in it a run begins, and which of its
ends are announced. A run that is replayed is one market altogether.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.app import wiring
from launcher.core.market.offer import Capacity, Offer
from launcher.core.market.recording import RecordedOffer, Recording, quotes
from launcher.core.market.trace import GENERATED, Trace, typical_life
from launcher.core.plan.limits import accepted, nearest_miss
from launcher.core.plan.planner import on_demand_price
from launcher.core.recipe import Recipe
from launcher.core.run.state import RunState
from launcher.errors import NoCapacity, UsageError
from launcher.sim.market import DeckMarket, Market, TimelineMarket
from launcher.sim.replay import replayed
from launcher.sim.world import START
from launcher.units import HOUR, Seconds, UsdPerHour


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A market for each seed. `recipe` is the one that buys there: of a file it takes the GPUs, where it names none."""

    name: str
    recipe: Recipe
    market: Callable[[int], Market]
    on_demand_price: UsdPerHour | None
    life: Seconds  # of a spot machine on average, where it is shortest; inf where none may be bought
    note: str


def source_of(recipe: Recipe, trace: str | None) -> Source:
    """`trace`: a bundled name or a file; None: what a rehearsal of the recipe would meet. Raises UsageError, NoCapacity."""
    if trace is None or trace in GENERATED:
        return _deck(recipe if trace is None else replace(recipe, local=replace(recipe.local, trace=trace)))
    path = Path(trace)
    if not path.is_file():
        raise UsageError(f"--trace {trace}: there is no such file, and the bundled traces are {', '.join(GENERATED)}")
    return _timeline(recipe, wiring.recording_of(path))


def replay_of(recipe: Recipe, state: RunState) -> Source:
    """The market that the run in `state` met."""
    trace = replayed(state, wiring.trace_of(state.recipe.local))
    note = f"the market is that of run {state.run}: its machines' lives, beyond them {state.recipe.local.trace}"
    return _source(state.run, recipe, wiring.offers_of(trace), lambda seed: _deck_market(recipe, trace), note)


def _deck(recipe: Recipe) -> Source:
    name = recipe.local.trace
    first = wiring.trace_of(recipe.local)

    def market(seed: int) -> Market:
        return _deck_market(recipe, wiring.trace_of(replace(recipe.local, seed=seed)))

    note = f"trace {name}: each seed draws lives of its own; prices from the bundled list"
    return _source(first.name, recipe, wiring.offers_of(first), market, note)


def _deck_market(recipe: Recipe, trace: Trace) -> Market:
    return DeckMarket(trace=trace, rows=accepted(recipe, wiring.offers_of(trace)))


def _timeline(recipe: Recipe, recording: Recording) -> Source:
    found = quotes(recording, wiring.offers_for(typical_life()))
    gpus = tuple(dict.fromkeys(_gpu(quote.offer) for quote in found))
    if not recipe.resources.accelerators:
        recipe = replace(recipe, resources=replace(recipe.resources, accelerators=gpus))
    kept = tuple(quote for quote in found if accepted(recipe, (_cheapest(quote),)))
    period = next(iter(recording.capacity.values())).period

    def market(seed: int) -> Market:
        offset = random.Random(f"{recording.name}/{seed}/begin").random() * period
        return TimelineMarket(recording.name, kept, seed=seed, origin=START, offset=offset)

    note = f"trace {recording.name}: {_of_places(kept)}, recorded over {period / HOUR:.0f} h; each seed begins elsewhere in it"
    if len({_gpu(quote.offer) for quote in kept}) > 1:
        note += "; training is taken to be as fast on each of these GPUs"
    return _source(recording.name, recipe, tuple(map(_cheapest, found)), market, note)


def _cheapest(quote: RecordedOffer) -> Offer:
    """At the lowest price that it ever had."""
    return quote.offer if quote.price is None else replace(quote.offer, price=min(quote.price.values))


def _source(name: str, recipe: Recipe, offers: tuple[Offer, ...], market: Callable[[int], Market], note: str) -> Source:
    if not accepted(recipe, offers):
        raise NoCapacity(f"nothing on offer in {name} fits the recipe; the nearest is {nearest_miss(recipe, offers)}")
    life = min((o.mean_life for o in accepted(recipe, offers) if o.placement.capacity is Capacity.SPOT), default=math.inf)
    price = on_demand_price(recipe, offers)
    return Source(name=name, recipe=recipe, market=market, on_demand_price=price, life=life, note=note)


def _gpu(offer: Offer) -> str:
    return f"{offer.placement.accelerator}:{offer.placement.accelerators}"


def _of_places(found: tuple[RecordedOffer, ...]) -> str:
    places = {str(quote.offer.placement) for quote in found}
    gpus = dict.fromkeys(_gpu(quote.offer) for quote in found)
    return f"{len(places)} place{'s' if len(places) > 1 else ''} with {', '.join(gpus)}"
