"""Models that tensor-parallel ranks cannot share are refused before anything starts."""

import pytest

from adabatch.distributed.tensor_parallel import check_tensor_parallel
from adabatch.model.language_model import model_config


@pytest.mark.parametrize(
    ("ranks", "length", "sequence_parallel", "message"),
    [
        (3, 64, False, "3 tensor-parallel ranks cannot share attention heads of 16"),
        (8, 64, False, "key-value heads of 4"),
        (4, 66, True, "sequence length of 66"),
    ],
)
def test_uneven_shares_are_refused(ranks, length, sequence_parallel, message):
    with pytest.raises(ValueError, match=message):
        check_tensor_parallel(model_config("microllama-300m"), ranks, length, sequence_parallel)


def test_even_shares_pass():
    check_tensor_parallel(model_config("microllama-300m"), 4, 66)
    check_tensor_parallel(model_config("microllama-300m"), 4, 64, sequence_parallel=True)
