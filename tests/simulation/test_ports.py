"""Each fault of a port does what its name says, once a call, and is counted; and no call of a dead process has an effect."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from launcher.core.checkpoint.manifest import CommitRef
from launcher.core.contract import AttemptSpec, commit_key, journal_key
from launcher.core.instance import InstanceName, InstancePhase, InstanceStatus
from launcher.core.market.offer import Offer
from launcher.errors import CloudUnreachable, FeedStale, KeyExists, StoreUnknown
from launcher.sim.faults import CALLS, MOMENTS, SPANS, STARTS, Fault, FaultPlan
from launcher.sim.faulty import CREATE_LATE, LIST_LAG, POLL_LAG, SILENCE, SLOW, FaultyCloud, FaultyFeed, FaultyStore, Process
from launcher.sim.store import SimStore
from launcher.sim.timeline import Dismissed, Timeline
from launcher.units import HOUR, MINUTE, Utc
from tests.core.markets import spot
from tests.simulation.rig import always, keys, process, spec_of

RUNNING = InstanceStatus(phase=InstancePhase.RUNNING, instance_id="i-1", billed_from=0.0)
GONE = InstanceStatus(phase=InstancePhase.GONE, instance_id="i-2", billed_from=0.0)
OFFER = spot("us-east-1a")


@dataclass
class Shop:
    """A cloud and a feed that do as they are told, and note it."""

    told: list[str] = field(default_factory=list)
    shows: dict[InstanceName, InstanceStatus] = field(default_factory=lambda: {"a": RUNNING})

    def start(self, name: InstanceName, spec: AttemptSpec) -> None:
        self.told.append(f"start {name}")

    def stop(self, name: InstanceName) -> None:
        self.told.append(f"stop {name}")

    def poll(self, run: str, incarnation: str) -> dict[InstanceName, InstanceStatus]:
        return dict(self.shows)

    def offers(self, now: Utc) -> tuple[Offer, ...]:
        return (OFFER,)


class Scene:
    """The three ports of one process in a world with these faults, each at every chance."""

    def __init__(self, *faults: Fault, can_stop: bool = True) -> None:
        self.timeline = Timeline()
        self.plan = always(*faults)
        self.process: Process = process(self.timeline, self.plan, can_stop=can_stop)
        self.inside = SimStore(self.timeline)
        self.store = FaultyStore(inner=self.inside, process=self.process)
        self.shop = Shop()
        self.cloud = FaultyCloud(inner=self.shop, process=self.process)
        self.feed = FaultyFeed(inner=self.shop, process=self.process)

    def fired(self, fault: Fault) -> int:
        return self.plan.fired[fault]


# --- store -----------------------------------------------------------------------------------------------------------------


def test_a_create_that_failed_took_no_effect() -> None:
    scene = Scene(Fault.CREATE_FAILED)
    for write in (scene.store.create, scene.store.replace):
        with pytest.raises(StoreUnknown):
            write("a", b"x")
    assert keys(scene.inside) == []
    assert scene.fired(Fault.CREATE_FAILED) == 2


def test_a_create_whose_answer_is_lost_took_effect() -> None:
    scene = Scene(Fault.CREATE_UNANSWERED)
    with pytest.raises(StoreUnknown):
        scene.store.create("a", b"x")
    with pytest.raises(StoreUnknown):
        scene.store.replace("b", b"y")
    assert (scene.inside.get("a"), scene.inside.get("b")) == (b"x", b"y")
    assert scene.fired(Fault.CREATE_UNANSWERED) == 2


def test_a_create_without_an_answer_is_known_again_by_the_next_one_of_the_same_bytes() -> None:
    """And by no other, as with the adapter of a bucket (`tests/conformance/test_remote.py`)."""
    scene = Scene(Fault.CREATE_UNANSWERED)
    with pytest.raises(StoreUnknown):
        scene.store.create("a", b"same")
    scene.process.plan = always()
    other = FaultyStore(inner=scene.inside, process=process(scene.timeline, always(), can_stop=True))
    with pytest.raises(KeyExists):
        other.create("a", b"same")
    scene.store.create("a", b"same")
    with pytest.raises(KeyExists):
        scene.store.create("a", b"same")


def test_other_bytes_after_a_create_without_an_answer_lose_against_it() -> None:
    scene = Scene(Fault.CREATE_UNANSWERED)
    with pytest.raises(StoreUnknown):
        scene.store.create("a", b"one")
    with pytest.raises(KeyExists):
        scene.store.create("a", b"two")
    assert scene.inside.get("a") == b"one"


def test_a_record_that_is_bent_on_its_way_stands_bent_as_does_a_commit_and_nothing_else() -> None:
    scene = Scene(Fault.WRITE_CORRUPTED)
    scene.store.create(journal_key(5), b"record")
    scene.store.create("attempts/0001/requested.json", b"no record")
    assert sum(a != b for a, b in zip(scene.inside.get(journal_key(5)), b"record", strict=True)) == 1
    assert scene.inside.get("attempts/0001/requested.json") == b"no record"
    assert scene.fired(Fault.WRITE_CORRUPTED) == 1
    scene.store.create(commit_key(CommitRef(1, 2)), b"commit")
    assert scene.inside.get(commit_key(CommitRef(1, 2))) != b"commit"


def test_a_late_create_lands_a_minute_after_it_was_given_up() -> None:
    scene = Scene(Fault.CREATE_LATE)
    with pytest.raises(StoreUnknown):
        scene.store.create("a", (part for part in (b"x", b"y")))
    scene.timeline.pass_until(CREATE_LATE - 1)
    assert keys(scene.inside) == []
    scene.timeline.pass_until(CREATE_LATE)
    assert scene.inside.get("a") == b"xy"
    assert scene.fired(Fault.CREATE_LATE) == 1


def test_until_a_late_create_lands_nobody_answers_another_try() -> None:
    scene = Scene(Fault.CREATE_LATE)
    for _ in range(3):
        with pytest.raises(StoreUnknown):
            scene.store.create("a", b"x")
    assert scene.fired(Fault.CREATE_LATE) == 1
    scene.timeline.pass_until(CREATE_LATE)
    assert scene.inside.get("a") == b"x"


def test_a_late_create_does_not_undo_what_another_has_created_meanwhile() -> None:
    scene = Scene(Fault.CREATE_LATE)
    with pytest.raises(StoreUnknown):
        scene.store.create("a", b"late")
    scene.inside.create("a", b"first")
    scene.timeline.pass_until(2 * CREATE_LATE)
    assert scene.inside.get("a") == b"first"


def test_a_truncated_read_is_shorter_and_a_corrupted_one_differs_in_one_byte() -> None:
    data = bytes(range(200))
    short, rotten = Scene(Fault.READ_TRUNCATED), Scene(Fault.READ_CORRUPTED)
    for scene in (short, rotten):
        scene.inside.create("a", data)
    cut = short.store.get("a")
    assert len(cut) < len(data)
    assert data.startswith(cut)
    read = rotten.store.get("a")
    assert sum(a != b for a, b in zip(read, data, strict=True)) == 1
    assert (short.inside.get("a"), rotten.inside.get("a")) == (data, data), "what lies there is whole"
    assert short.fired(Fault.READ_TRUNCATED) == rotten.fired(Fault.READ_CORRUPTED) == 1


def test_a_late_listing_leaves_out_what_is_new_and_nothing_else() -> None:
    scene = Scene(Fault.LIST_LATE)
    scene.inside.create("old", b"")
    scene.timeline.pass_until(LIST_LAG + 1)
    scene.inside.create("new", b"")
    assert keys(scene.store) == ["old"]
    assert scene.store.get("new") == b"", "it can be read"
    scene.timeline.pass_until(2 * LIST_LAG + 2)
    assert keys(scene.store) == ["new", "old"]


def test_while_the_store_is_away_no_call_reaches_it_and_afterwards_all_do() -> None:
    scene = Scene(Fault.STORE_AWAY)
    (span,) = scene.plan.spans
    scene.inside.create("a", b"x")
    scene.timeline.pass_until(span.start)
    calls: list[Callable[[], object]] = [
        lambda: scene.store.get("a"),
        lambda: scene.store.list(""),
        lambda: scene.store.create("b", b""),
        lambda: scene.store.replace("a", b""),
        lambda: scene.store.delete("a"),
    ]
    for call in calls:
        with pytest.raises(StoreUnknown):
            call()
    assert scene.fired(Fault.STORE_AWAY) == len(calls)
    assert scene.timeline.now == span.start + len(calls) * SILENCE, "each waits for an answer that does not come"
    scene.timeline.pass_until(span.end)
    assert scene.store.get("a") == b"x"


def test_in_a_storm_calls_are_refused_at_once() -> None:
    scene = Scene(Fault.STORE_STORM)
    (span,) = scene.plan.spans
    scene.timeline.pass_until(span.start)
    with pytest.raises(StoreUnknown, match="503"):
        scene.store.list("")
    assert scene.timeline.now == span.start
    assert scene.fired(Fault.STORE_STORM) == 1
    scene.timeline.pass_until(span.end)
    assert keys(scene.store) == []


def test_a_slow_store_answers_and_takes_its_time() -> None:
    scene = Scene(Fault.STORE_SLOW)
    scene.store.create("a", b"x")
    assert scene.timeline.now == SLOW
    assert scene.inside.get("a") == b"x"


# --- cloud and feed --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["start", "stop"])
def test_a_lost_command_is_never_heard_and_an_unanswered_one_was(verb: str) -> None:
    is_start = verb == "start"
    lost, unheard = (Fault.START_LOST, Fault.START_UNANSWERED) if is_start else (Fault.STOP_LOST, Fault.STOP_UNANSWERED)

    def command(scene: Scene) -> None:
        scene.cloud.start("a", spec_of()) if is_start else scene.cloud.stop("a")

    first, second = Scene(lost), Scene(unheard)
    command(first)
    assert (first.shop.told, first.fired(lost)) == ([], 1)
    with pytest.raises(CloudUnreachable):
        command(second)
    assert (second.shop.told, second.fired(unheard)) == ([f"{verb} a"], 1)


def test_a_failed_poll_says_so() -> None:
    scene = Scene(Fault.POLL_FAILED)
    with pytest.raises(CloudUnreachable):
        scene.cloud.poll("r", "inc")
    assert scene.fired(Fault.POLL_FAILED) == 1


def test_a_stale_poll_shows_what_was_and_not_long_ago() -> None:
    scene = Scene(Fault.POLL_STALE)
    assert scene.cloud.poll("r", "inc") == {"a": RUNNING}, "there is nothing older yet"
    scene.shop.shows = {"a": GONE}
    scene.timeline.pass_until(POLL_LAG)
    assert scene.cloud.poll("r", "inc") == {"a": RUNNING}
    scene.timeline.pass_until(3 * POLL_LAG)
    assert scene.cloud.poll("r", "inc") == {"a": GONE}
    assert scene.fired(Fault.POLL_STALE) == 1


def test_a_partial_poll_leaves_one_out() -> None:
    scene = Scene(Fault.POLL_PARTIAL)
    scene.shop.shows = {"a": RUNNING, "b": RUNNING, "c": GONE}
    found = scene.cloud.poll("r", "inc")
    assert len(found) == 2
    assert found.items() <= scene.shop.shows.items()
    assert scene.fired(Fault.POLL_PARTIAL) == 1


def test_a_cloud_that_forgets_tells_no_end() -> None:
    scene = Scene(Fault.ENDS_UNTOLD)
    scene.shop.shows = {"a": RUNNING, "b": GONE}
    assert scene.cloud.poll("r", "inc") == {"a": RUNNING}
    assert scene.fired(Fault.ENDS_UNTOLD) == 1


def test_while_the_clouds_api_is_away_nothing_reaches_it() -> None:
    scene = Scene(Fault.CLOUD_AWAY)
    (span,) = scene.plan.spans
    scene.timeline.pass_until(span.start)
    calls: list[Callable[[], object]] = [
        lambda: scene.cloud.poll("r", "inc"),
        lambda: scene.cloud.start("a", spec_of()),
        lambda: scene.cloud.stop("a"),
    ]
    for call in calls:
        with pytest.raises(CloudUnreachable):
            call()
    assert scene.shop.told == []
    scene.timeline.pass_until(span.end)
    assert scene.cloud.poll("r", "inc") == {"a": RUNNING}


def test_a_stale_feed_shows_no_prices() -> None:
    scene = Scene(Fault.FEED_STALE)
    with pytest.raises(FeedStale):
        scene.feed.offers(0.0)
    assert scene.fired(Fault.FEED_STALE) == 1


# --- processes -------------------------------------------------------------------------------------------------------------


def test_a_crash_at_an_append_comes_before_the_record_stands_or_after() -> None:
    scene = Scene(Fault.CRASH_AT_APPEND)
    scene.store.create("attempts/0001/requested.json", b"no record: no crash")
    with pytest.raises(Dismissed):
        scene.store.create(journal_key(1), b"x")
    assert keys(scene.inside, "journal/") == [], "at rate 1 the first chance is taken"
    assert any(_crashes_behind_an_append(seed) for seed in range(40)), "at a lower one the second is, now and then"


def _crashes_behind_an_append(seed: int) -> bool:
    scene = Scene()
    scene.process.plan = FaultPlan(seed, 0.0, HOUR, only=(Fault.CRASH_AT_APPEND,), rate=0.5)
    with contextlib.suppress(Dismissed):
        scene.store.create(journal_key(1), b"x")
    return scene.process.is_dead and keys(scene.inside, "journal/") == [journal_key(1)]


def test_a_crash_at_a_command_ends_the_process_and_no_later_call_of_it_has_an_effect() -> None:
    scene = Scene(Fault.CRASH_AT_COMMAND)
    calls: list[Callable[[], object]] = [
        lambda: scene.cloud.start("a", spec_of()),
        lambda: scene.cloud.poll("r", "inc"),
        lambda: scene.cloud.stop("a"),
        lambda: scene.store.create("a", b""),
        lambda: scene.store.replace("a", b""),
        lambda: scene.store.delete("a"),
        lambda: scene.feed.offers(0.0),
    ]
    for call in calls:
        with pytest.raises(Dismissed):
            call()
    assert scene.shop.told == []
    assert keys(scene.inside) == []
    assert scene.fired(Fault.CRASH_AT_COMMAND) == 1, "it dies once"


def test_a_paused_process_goes_on_later_in_the_same_call() -> None:
    scene = Scene(Fault.PAUSE)
    scene.store.create("a", b"x")
    assert MINUTE <= scene.timeline.now <= 90 * MINUTE
    assert scene.inside.get("a") == b"x"


def test_a_machine_is_not_paused_and_does_not_crash_in_a_call() -> None:
    scene = Scene(Fault.PAUSE, Fault.CRASH_AT_APPEND, Fault.STORE_SLOW, can_stop=False)
    scene.store.create(journal_key(1), b"x")
    assert scene.timeline.now == 0.0
    assert scene.plan.fired.total() == 0


# --- the plan --------------------------------------------------------------------------------------------------------------


def test_after_its_end_trouble_is_over() -> None:
    every = always(*Fault)
    now = every.quiet_from
    assert not any(every.hits(fault, now) for fault in CALLS)
    assert not any(every.during(fault, now) for fault in SPANS)
    assert not every.in_storm(now)
    assert all(when < now for when, _ in every.moments)
    assert all(span.end <= now for span in every.spans)


def test_a_kind_that_a_seed_has_not_drawn_never_hits() -> None:
    plan = always(Fault.PAUSE)
    assert not any(plan.hits(fault, 0.0) for fault in CALLS if fault is not Fault.PAUSE)
    assert plan.hits(Fault.PAUSE, 0.0)


def test_equal_seeds_make_equal_plans() -> None:
    first, second, other = (always(*Fault, seed=seed, lasts=8 * HOUR) for seed in (3, 3, 4))
    assert (first.spans, first.moments) == (second.spans, second.moments)
    assert (first.spans, first.moments) != (other.spans, other.moments)


def test_every_kind_of_fault_has_one_way_to_happen() -> None:
    by_hand = {Fault.CRON, Fault.OTHER_HOME, Fault.ENDS_UNTOLD}
    ways = [*CALLS, *STARTS, *SPANS, *MOMENTS, *by_hand]
    assert sorted(ways, key=lambda fault: fault.value) == sorted(Fault, key=lambda fault: fault.value)
