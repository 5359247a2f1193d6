"""One process, many runs: what `scripts/bench scale` measures is what it says."""

from launcher.core.recipe import Recipe
from launcher.sim.world import START
from launcher.units import HOUR
from scripts.benches import scale


def ticker(seed: int) -> scale.Ticker:
    return scale.Ticker(Recipe(name="scale", trainer={"kind": "launcher.trainers.gpt", "steps": 1000}), seed)


def test_the_run_that_is_due_first_ticks_first() -> None:
    tickers = [ticker(seed) for seed in range(3)]
    ticked: list[float] = []
    for one in tickers:
        step = one.step
        one.step = lambda one=one, step=step: (ticked.append(one.now), step())[1]  # type: ignore[method-assign]
    scale.interleave(tickers, START + HOUR)
    assert ticked == sorted(ticked)
    assert all(one.now >= START + HOUR for one in tickers)


def test_runs_that_take_turns_have_the_history_each_has_alone() -> None:
    together, alone = [ticker(seed) for seed in (1, 2)], [ticker(seed) for seed in (1, 2)]
    scale.interleave(together, START + 2 * HOUR)
    for one in alone:
        scale.interleave([one], START + 2 * HOUR)
    for a, b in zip(together, alone, strict=True):
        assert a.supervisor.history.records == b.supervisor.history.records


def test_a_row_counts_what_its_runs_did() -> None:
    row = scale.measure(2, 2)
    assert row.num_attempts >= 2
    assert row.num_records > 5 * row.num_attempts, "a request, a start, a claim, a grant and an end at the least"
    assert min(looks.look_cpu_s for looks in row.orders) > 0
    assert 2.0 < row.look_every <= 3.0, "every three seconds, and at once after an act"
    assert row.held > 1000 * row.num_records / row.num_total, "a record is held with its bytes"


def test_each_row_takes_the_same_runs() -> None:
    alone, together = scale.measure(1, 2), scale.measure(2, 2)
    assert (alone.num_attempts, alone.num_records, alone.passed) == (together.num_attempts, together.num_records, together.passed)
    assert [looks.num_looks for looks in alone.orders] == [looks.num_looks for looks in together.orders] == [80, 80]
