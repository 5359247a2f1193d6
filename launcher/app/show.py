"""What a person reads before and after a run: the plan, the end, and the documents of both for programs."""

from urllib.parse import unquote

from launcher.app.columns import Column, fitted, wrapped
from launcher.app.proof import Proof
from launcher.app.result import Cost, Parts, Result
from launcher.codec import Json, encode
from launcher.core.market.offer import Capacity
from launcher.core.plan.candidates import Candidate
from launcher.core.plan.planner import Plan
from launcher.core.policy.base import Phase
from launcher.core.recipe import Recipe
from launcher.units import show_duration, show_excess, show_usd

CANDIDATES_SHOWN = 6
FILES_SHOWN = 3
BRIEF_MOST = 160  # characters of a text in a table; the whole of it stands where one run is looked at


def brief(text: str) -> str:
    """A text for a cell: in one line, and cut where it is too long for one."""
    line = " ".join(text.split())
    return line if len(line) <= BRIEF_MOST else f"{line[: BRIEF_MOST - 2].rpartition(' ')[0]} …"


# --- before the run ------------------------------------------------------------------------------------------------------------


def rehearsal_line(recipe: Recipe, plan: Plan) -> str:
    speed = plan.task.speed
    dates = {c.offer.source.rpartition(", ")[2] for c in plan.candidates}
    there = f"{speed / 60:.1f} min" if speed >= 60 else f"{speed:.3g} s"
    return (
        f"rehearsal: processes on this machine act as spot instances (trace {recipe.local.trace}, 1 s here = {there} there). "
        f"Nothing is billed. Prices: bundled list, {max(dates)}."
    )


def plan_lines(plan: Plan, *, width: int | None = None) -> list[str]:
    """The candidates as a table, then how often checkpoints are made and what a person should know."""
    shown = plan.candidates[:CANDIDATES_SHOWN]
    chosen = plan.chosen
    extra = () if chosen is None or chosen in shown else (chosen,)
    numbered = [(plan.candidates.index(c) + 1, c) for c in (*shown, *extra)]
    lines = fitted(_COLUMNS, numbered, width)
    hidden = len(plan.candidates) - len(numbered)
    if hidden:
        lines.append(f"   and {hidden} dearer one{'s' if hidden > 1 else ''}")
    sentences = [str(plan.saving), f"policy {plan.policy}: {plan.reason}", *(f"note: {note}" for note in plan.notes)]
    return [*lines, *(line for sentence in sentences for line in wrapped(sentence, width))]


Numbered = tuple[int, Candidate]


def _rate(row: Numbered) -> str:
    offer = row[1].offer
    return f"{offer.price:.2f}" + ("" if offer.placement.capacity is Capacity.SPOT else " od")


def _life(row: Numbered) -> str:
    return show_duration(row[1].life) if row[1].offer.placement.capacity is Capacity.SPOT else "no end"


_COLUMNS: list[Column[Numbered]] = [
    Column(head="#", cell=lambda row: str(row[0]), is_right=True),
    Column(head="PLACE", cell=lambda row: str(row[1].offer.placement)),
    Column(head="INSTANCE", cell=lambda row: row[1].offer.placement.instance, rank=4),
    Column(head="GPU", cell=lambda row: f"{row[1].offer.placement.accelerator}:{row[1].offer.placement.accelerators}", rank=3),
    Column(head="$/h", cell=_rate, is_right=True),
    Column(head="OD $/h", cell=lambda row: f"{row[1].offer.on_demand_price:.2f}", rank=2, is_right=True),
    Column(head="MEAN LIFE", cell=_life, rank=1, is_right=True),
    Column(head="EST. TOTAL", cell=lambda row: show_usd(row[1].usd), is_right=True),
    Column(head="CHOSEN", cell=lambda row: "✔" if row[1].is_chosen else row[1].why),
]


def plan_json(recipe: Recipe, plan: Plan, speed_reason: str) -> dict[str, Json]:
    """The document of `launch plan -o json`; the plan's own fields, without the tags of our journal."""
    raw = untagged(encode(plan))
    raw.pop("schema_version")
    simulated = {"simulated": recipe.is_local, "speed": plan.task.speed, "speed_reason": speed_reason}
    return {"schema_version": 1, "recipe": recipe.name, **simulated, "plan": raw}


def untagged(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: untagged(item) for key, item in value.items() if key != "is"}
    return [untagged(item) for item in value] if isinstance(value, list) else value


# --- after the run -----------------------------------------------------------------------------------------------------------


def final_block(result: Result) -> list[str]:
    """What a person reads at the end: the proof, the money, the time, and what to type next."""
    lines = [] if result.proof is None else [f" proof   {_proof_text(result.proof)}"]
    lines += [f" cost    {_cost_text(result)}", f" work    {_work_text(result)}"]
    if result.weights:
        lines += [f" weights {result.weights[0]}", f"         {load_line(result.weights[0])}"]
    elif result.files:
        more = f" and {len(result.files) - FILES_SHOWN} more" if len(result.files) > FILES_SHOWN else ""
        lines += [f" files   {'  '.join(result.files[:FILES_SHOWN])}{more}"]
    if result.reason and result.state is not Phase.SUCCEEDED:
        lines.append(f" reason  {result.reason}")
    return [*lines, f" next    {'     ·     '.join(_next(result))}"]


def load_line(url: str) -> str:
    """The line of Python that loads the weights at `url`: a checkpoint's file holds the optimizer's state beside them."""
    is_near = url.startswith("file://")
    path = unquote(url.removeprefix("file://"))
    load = f"load_file({path!r})" if is_near else f"load(fsspec.open({url!r}).open().read())"
    return (
        f"{'' if is_near else 'import fsspec; '}from safetensors.torch import {load.partition('(')[0]}; "
        f"weights = {{k[6:]: v for k, v in {load}.items() if k.startswith('model.')}}"
    )


def _proof_text(proof: Proof) -> str:
    if not proof.compared:
        return f"not compared: {proof.reason}"
    what = f"{proof.num_losses} losses and the final weights equal an uninterrupted run's"
    if proof.has_failed:
        return f"{what}: NO: {proof.reason}"
    return f"{what}: yes (max |Δ| = {proof.weights_max_abs_delta:g})"


BESIDE_UNPRICED = " and unpriced machines"


def show_cost(cost: Cost) -> str:
    beside = " rehearsed" if cost.simulated else BESIDE_UNPRICED if cost.unpriced else ""
    return f"{show_usd(cost.spent)}{beside}"


def _cost_text(result: Result) -> str:
    cost = result.cost
    text = show_cost(cost)
    if cost.on_demand is None or cost.saved_fraction is None:
        return text
    saved = show_excess(1 - cost.saved_fraction) or f"saved {100 * cost.saved_fraction:.0f} %"
    return f"{text} · on-demand {show_usd(cost.on_demand)} · {saved}"


def _work_text(result: Result) -> str:
    s = result.seconds
    real = " (real start-up of each attempt)" if result.cost.simulated else ""
    shares = (
        f"useful {_percent(s, s.useful)} · redone {_percent(s, s.redone)} · saving {_percent(s, s.saving)} · "
        f"restoring {_percent(s, s.restoring)}{real} · waiting {_percent(s, s.waiting)}"
    )
    has_losses = result.preemptions > 0 and result.tells_steps
    in_time = f" · just in time {result.just_in_time_saves}/{result.preemptions}" if has_losses else ""
    return f"{shares}    preemptions {result.preemptions}{in_time}"


def _percent(parts: Parts, part: float) -> str:
    return f"{100 * parts.share(part):.0f} %"


def _next(result: Result) -> list[str]:
    match result.state:
        case Phase.SUCCEEDED if result.recipe == "quickstart":
            return [f"launch report {result.run}", "launch train quickstart local.trace=harsh"]
        case Phase.SUCCEEDED:
            return [f"launch report {result.run}"]
        case Phase.FAILED:
            return [f"launch logs {result.run}", result.resume]
        case _:
            return [result.resume]
