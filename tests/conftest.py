"""What all tests share: one cache of prepared corpora, one thread, no network."""

import gc
import os
import re
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
from hypothesis import settings

from tests.support.command import Command

TESTS = Path(__file__).parent

LONGEST = ("test_elastic_runs.py", "test_readme.py", "test_faults.py", "test_packaging.py", "test_compare.py")
"""Files whose slow tests take more than a minute."""

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


@pytest.fixture(scope="session", autouse=True)
def _stop_signals():
    """Stop signals do what they do by default, also where the tests run under nohup or in the background."""
    for name in ("SIGTERM", "SIGHUP", "SIGUSR1"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _one_thread():
    """A run in this process sets its threads, as many as there are cores: the next test has one again."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_open_window():
    """accelerate has one state per process: a test that ends within a window does not leave it to the next."""
    yield
    if (state := sys.modules.get("accelerate.state")) and state.GradientState._shared_state:
        state.GradientState()._set_sync_gradients(True)


@pytest.fixture
def adabatch(monkeypatch, capsys):
    """The command, run in this process."""
    return Command(monkeypatch, capsys)


def pytest_ignore_collect(collection_path, config):
    """Leave out, without torch, the files that compare with it; of slow tests, doctests and files without any."""
    if collection_path.suffix != ".py":
        return None
    if config.getoption("markexpr") == "slow":
        return TESTS not in collection_path.parents or "mark.slow" not in collection_path.read_text() or None
    if find_spec("torch") is not None:
        return None
    return bool(re.search(r"^(import|from) torch\b", collection_path.read_text(), flags=re.MULTILINE)) or None


def pytest_addoption(parser):
    parser.addoption(
        "--examples-times",
        type=float,
        default=1.0,
        help="Draw this many times the examples of each property test.",
    )


@pytest.hookimpl(trylast=True)  # hypothesis marks its tests before
def pytest_collection_modifyitems(config, items):
    """More examples for ``make properties``: what is found once in twenty runs should not wait for that one.

    Of the slow tests, the files that take minutes come first, so that no worker is left with one at the end.
    """
    if config.getoption("markexpr") == "slow":
        items.sort(key=lambda item: (*LONGEST, item.path.name).index(item.path.name))
    times = config.getoption("--examples-times")
    for function in {getattr(item, "function", None) for item in items if item.get_closest_marker("hypothesis")}:
        given = getattr(function, "_hypothesis_internal_use_settings", settings.default)
        more = settings(given, max_examples=max(1, round(times * given.max_examples)))
        function._hypothesis_internal_use_settings = more


def pytest_collection():
    """What imports make is kept: looking through it for garbage, again and again, finds little."""
    gc.disable()


def pytest_collection_finish():
    """Full garbage collections pass over what collected modules hold: accelerate asks for one at each training."""
    gc.freeze()
    gc.enable()
