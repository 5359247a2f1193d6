"""What a refused quota keeps from a job, and what helps: where it is asked for, and when the place is tried again by itself.

A cloud that refused a quota this morning refuses it tonight, and each try costs minutes of a run that has no machine. So such
places are no candidates for `retry.quota`, but nobody should miss them in silence: the cheapest may be among them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from launcher.core.market.offer import Offer
from launcher.core.market.quota import QuotaRefusal, Refusals
from launcher.core.plan.limits import ASK_AGAIN, accepted, lacking_quota
from launcher.core.recipe import Recipe
from launcher.units import Usd, Utc, show_duration, show_usd

CONSOLES = {
    "aws": "https://console.aws.amazon.com/servicequotas",
    "gcp": "https://console.cloud.google.com/iam-admin/quotas",
    "azure": "https://portal.azure.com under Quotas",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """A quota, how many places that the recipe would accept it keeps from it, and what the job costs in the cheapest of them."""

    refusal: QuotaRefusal
    again_at: Utc
    num_places: int
    usd: Usd

    @property
    def console(self) -> str:
        """Where more is asked for."""
        return CONSOLES.get(self.refusal.cloud, self.refusal.cloud)

    def told(self, now: Utc) -> str:
        where = "in 1 place" if self.num_places == 1 else f"and more in {self.num_places} places"
        ago, until = show_duration(max(0.0, now - self.refusal.refused_at)), show_duration(max(0.0, self.again_at - now))
        return f"{self.refusal}, {show_usd(self.usd)} {where}, refused {ago} ago, tried again in {until}"


def withheld(recipe: Recipe, offers: Iterable[Offer], quotas: Refusals, usd: Callable[[Offer], Usd]) -> tuple[Withheld, ...]:
    """By the standing `quotas`, the cheapest first; `usd`: what the job comes to there."""
    totals: dict[QuotaRefusal, list[Usd]] = {}
    for offer in accepted(recipe, tuple(offers)) if quotas else ():
        refusal = lacking_quota(recipe, offer.placement, quotas)
        if refusal is not None:
            totals.setdefault(refusal, []).append(usd(offer))
    found = (
        Withheld(refusal=refusal, again_at=refusal.refused_at + recipe.retry.quota, num_places=len(there), usd=min(there))
        for refusal, there in totals.items()
    )
    return tuple(sorted(found, key=lambda one: one.usd))


def remedy(found: Iterable[Withheld]) -> str:
    """What a person can do about all of them."""
    consoles = " or ".join(dict.fromkeys(one.console for one in found))
    return f"ask for more at {consoles}; {ASK_AGAIN} tries again at once"
