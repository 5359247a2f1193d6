"""Records that nobody can read, and the attempts that only they told of."""

from dataclasses import replace

from launcher.core.run import events as ev
from launcher.core.run.ends import imply_ends
from launcher.core.run.state import UNKNOWN_OFFER, Attempt, RunState, with_attempt
from launcher.units import Utc


def void(state: RunState, event: ev.RecordVoided) -> RunState:
    """Each newly voided record may have been a request, so it uses up an attempt number."""
    new = frozenset(event.numbers) - state.voided
    waiting = frozenset(a.number for a in state.living if not a.is_granted) if new else frozenset()
    state = replace(
        state,
        voided=state.voided | new,
        doubtful=state.doubtful | waiting,
        next_attempt=state.next_attempt + len(new),
    )
    for request in event.requests:
        state = _recall(state, request, event.at)
    return state


def _recall(state: RunState, request: ev.AttemptRequested, at: Utc) -> RunState:
    """The machine of a void request is no more wanted for that, and costs what it costs."""
    known = state.attempts.get(request.attempt)
    attempt = known or replace(ghost(request.attempt, at), drain=False)  # no record tells of it: it has nothing to save
    stop_at = request.stop_at if attempt.stop_at is None else attempt.stop_at
    state = with_attempt(state, replace(attempt, offer=request.offer, requested_at=request.at, stop_at=stop_at))
    return imply_ends(state, at, [state.attempts[attempt.number]]) if known is None and state.terminal else state


def ghost(number: int, at: Utc) -> Attempt:
    """An attempt whose request is in a voided record: unwanted, but kept, since its grant and commits may be history."""
    return Attempt(
        number=number,
        offer=UNKNOWN_OFFER,
        requested_at=at,
        reason="the record of its request was voided",
        unwanted_at=at,
        unwanted_reason="the record of its request was voided",
    )
