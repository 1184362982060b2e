"""Random numbers: a seed's numbers depend on the seed and the channel alone."""

import numpy as np
import pytest

from simulate.streams import SeedStreams


@pytest.mark.parametrize("sampler", ["standard_normal", "random", "standard_exponential"])
def test_numbers_do_not_depend_on_the_batch_or_the_blocks(sampler):
    batch = SeedStreams([3, 1, 4, 1], steps=200)
    alone = SeedStreams([1], steps=1000, block_numbers=7)
    for _ in range(200):  # three blocks of the one alone
        together, single = batch.draw(0, (3,), sampler), alone.draw(0, (3,), sampler)
        assert (together[1] == single[0]).all()
        assert (together[3] == single[0]).all()


def test_seeds_and_channels_are_independent():
    streams = SeedStreams(range(50), steps=200)
    first = np.stack([streams.draw(0, (4,), "standard_normal").copy() for _ in range(200)])
    second = np.stack([streams.draw(1, (4,), "standard_normal").copy() for _ in range(200)])
    columns = np.concatenate([first.transpose(1, 0, 2).reshape(50, -1), second.transpose(1, 0, 2).reshape(50, -1)])
    correlations = np.corrcoef(columns) - np.eye(100)
    assert np.abs(correlations).max() < 6 / np.sqrt(800)


def test_seeds_beyond_64_bits_differ():
    seeds = [5, 5 + 2**32, 5 + 2**64, 5 + 2**96]
    numbers = SeedStreams(seeds, steps=1).draw(0, (1,), "random")
    assert len(set(numbers[:, 0])) == 4


def test_a_channel_keeps_its_shape_and_law():
    streams = SeedStreams([0], steps=3)
    streams.draw(0, (2,), "standard_normal")
    with pytest.raises(ValueError, match="channel 0"):
        streams.draw(0, (3,), "standard_normal")
    with pytest.raises(ValueError, match="channel 0"):
        streams.draw(0, (2,), "random")
