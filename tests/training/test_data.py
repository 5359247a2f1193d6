"""The order of samples: each once an epoch, from one number, for any number of ranks."""

from hypothesis import given
from hypothesis import strategies as st

from launcher.data import SampleOrder, sample_at


@given(st.integers(1, 300), st.integers(0, 2**31), st.integers(0, 5))
def test_every_epoch_visits_each_sample_once(num_samples: int, seed: int, epoch: int):
    start = epoch * num_samples
    seen = [sample_at(seed, num_samples, start + i) for i in range(num_samples)]

    assert sorted(seen) == list(range(num_samples))


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = {tuple(sample_at(seed, 50, epoch * 50 + i) for i in range(50)) for seed in range(4) for epoch in range(4)}

    assert len(orders) == 16


@given(st.integers(1, 100), st.integers(0, 300), st.integers(1, 17))
def test_an_order_resumed_at_its_position_goes_on_the_same(num_samples: int, position: int, batch_size: int):
    whole = SampleOrder(num_samples=num_samples, seed=1)
    whole.next_batch(position)
    resumed = SampleOrder(num_samples=num_samples, seed=1)
    resumed.load_state_dict(whole.state_dict())

    assert resumed.next_batch(batch_size) == whole.next_batch(batch_size)


@given(st.integers(1, 8), st.integers(1, 40))
def test_ranks_share_one_global_batch_whatever_their_number(world_size: int, batch_size: int):
    alone = SampleOrder(num_samples=97, seed=3)
    ranks = [SampleOrder(num_samples=97, seed=3) for _ in range(world_size)]
    shares = [order.next_batch(batch_size, rank=rank, world_size=world_size) for rank, order in enumerate(ranks)]

    assert sorted(index for share in shares for index in share) == sorted(alone.next_batch(batch_size))
    assert {order.position for order in ranks} == {batch_size}
