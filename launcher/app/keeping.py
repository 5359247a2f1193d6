"""What is said of a failed machine that stays up for a look: until when, what that costs, how to get there and how to end it."""

from launcher.app.looking import span
from launcher.core.run.keeping import kept, kept_until
from launcher.core.run.state import RunState
from launcher.units import Utc, show_rate


def about_kept(state: RunState, now: Utc) -> str:
    """Empty where none is kept."""
    attempt = kept(state, now)
    if attempt is None:
        return ""
    left, price = span(kept_until(state, attempt) - now, state.speed), attempt.offer.price * state.recipe.num_nodes
    return f"the machine of attempt {attempt.number} for {left}, at {show_rate(price)}; `launch stop {state.run}` ends it"
