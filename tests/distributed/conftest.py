"""Ranks that stay up between the examples of property tests."""

import pytest

from tests.support.spawning import shared_pool


@pytest.fixture(scope="module", params=[1, 2, 3, 4], ids=lambda ranks: f"{ranks} ranks")
def pool(request):
    return shared_pool(request.param)
