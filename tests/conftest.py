"""What all tests share: one cache of prepared corpora, one thread, no network."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
from hypothesis import settings

settings.register_profile("adabatch", deadline=None)  # a busy machine is no failure
settings.load_profile("adabatch")


@pytest.fixture(scope="session", autouse=True)
def _corpus_cache(tmp_path_factory):
    """Prepared corpora of this session lie in a folder of its own, also for subprocesses."""
    before = os.environ.get("ADABATCH_CACHE")
    os.environ["ADABATCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["ADABATCH_CACHE"]
    else:
        os.environ["ADABATCH_CACHE"] = before
