"""A person's own clusters, Slurm and Kubernetes: no list has them, so the recipe says where they are and what GPUs they have.

What an hour there costs nobody tells. Unpriced is not free: it is counted as 0, since there is no other number, and said to be
unpriced wherever money is shown. So they are used only where the recipe names them in full.
"""

from launcher.core.market.chips import CHIPS
from launcher.core.market.lives import PRIOR, Lives
from launcher.core.market.offer import Capacity, Offer, Placement
from launcher.core.plan.sizing import count_for
from launcher.core.recipe import Recipe
from launcher.errors import RecipeError

UNPRICED = ("slurm", "k8s")
_IN_FULL = {"slurm": "slurm/CLUSTER/PARTITION", "k8s": "k8s/CONTEXT"}


def is_unpriced(placement: Placement) -> bool:
    return placement.cloud in UNPRICED


def unpriced_places(recipe: Recipe) -> tuple[str, ...]:
    """The clusters that `resources.infra` names in full, as they are written there."""
    return tuple(text for text in recipe.resources.infra if _is_in_full(text))


def _is_in_full(text: str) -> bool:
    cloud, *where = text.split("/")
    return cloud in UNPRICED and len(where) == (2 if cloud == "slurm" else 1)


def unpriced_offers(recipe: Recipe, lives: Lives = PRIOR) -> tuple[Offer, ...]:
    """Each such cluster with each GPU that the recipe names. Raises RecipeError where it says too little of all its places."""
    short = next((text for text in recipe.resources.infra if text.partition("/")[0] in UNPRICED and not _is_in_full(text)), None)
    if short is not None and all(text.partition("/")[0] in UNPRICED for text in recipe.resources.infra):
        in_full = _IN_FULL[short.partition("/")[0]]
        raise RecipeError(f"resources.infra is {short}; a cluster is named in full, as {in_full}")
    return tuple(_offer(text, *gpus, lives) for text in unpriced_places(recipe) for gpus in _named_gpus(recipe))


def _named_gpus(recipe: Recipe) -> list[tuple[str, int]]:
    """Of the wishes those that name a GPU whose speed is known."""
    found = []
    for wish in recipe.resources.accelerators:
        name = next((gpu for gpu in CHIPS if gpu.lower() == wish.partition(":")[0].lower()), None)
        count = None if name is None else count_for(wish, name)
        if name is not None and count is not None:
            found.append((name, count))
    if not found:
        raise RecipeError(
            f"resources.infra names {' and '.join(unpriced_places(recipe))}, whose GPUs are on no list; "
            "name them in resources.accelerators, such as H100:8"
        )
    return found


def _offer(text: str, gpu: str, count: int, lives: Lives) -> Offer:
    cloud, cluster, *partition = text.split("/")
    placement = Placement(
        cloud=cloud,
        region=cluster,
        zone=partition[0] if partition else None,
        instance=cluster,  # partitions of two clusters may have one name
        accelerator=gpu,
        accelerators=count,
        capacity=Capacity.ON_DEMAND,
    )
    return Offer(
        placement=placement,
        price=0.0,
        on_demand_price=0.0,
        price_cap=0.0,
        mean_life=lives.mean(placement),
        notice_lead=0.0,
        source="the recipe",
    )
