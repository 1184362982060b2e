"""TensorBoard and Weights & Biases: the same names in both, one run through resumptions, and none that fails costs
the run more than a line. The client of Weights & Biases is a double of the few calls that are made of it; where
it is installed, the last tests use it offline."""

from __future__ import annotations

import json
import sys
import threading
from types import SimpleNamespace

import pytest

from adabatch.reporting import wandb as adapter
from adabatch.reporting.metrics import MetricsWriter, read_metrics, scalars
from adabatch.reporting.trackers import require_trackers, trackers_of
from adabatch.settings import load_settings
from adabatch.training.launch import launch
from tests.adabatch.reporting.test_tensorboard import record

SETTINGS = load_settings(overrides={"wandb": True})


class Server:
    """What a run in Weights & Biases holds, by its id; as a client of its calls."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[int, dict[str, float]]] = {}
        self.begun: list[dict] = []
        self.refusal: Exception | None = None
        self.known = True
        self.open = threading.Event()
        self.open.set()

    Settings = SimpleNamespace

    def setup(self):
        return SimpleNamespace(settings=SimpleNamespace(mode="online"))

    def login(self, prompt, verify):
        assert (prompt, verify) == (False, False)  # nobody is there to answer
        return self.known

    def teardown(self):
        self.begun.clear()

    def init(self, mode=None, **options):
        self.open.wait(30)
        self.begun.append({"mode": mode, **options})
        if self.refusal is not None and mode != "offline":
            raise self.refusal
        history = self.runs.setdefault(options["id"], {})
        url = None if mode == "offline" else f"https://wandb.example/{options['id']}"

        def log(numbers, step):
            if history and step < max(history):
                raise AssertionError("sent again")
            history[step] = numbers

        return SimpleNamespace(
            step=max(history) + 1 if history else 0,
            url=url,
            dir=f"{options['dir']}/wandb/offline-run-1/files",
            log=log,
            finish=lambda: None,
        )


@pytest.fixture
def server(monkeypatch):
    made = Server()
    monkeypatch.setitem(sys.modules, "wandb", made)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return made


def write(folder, first, last, after=0, told=None):
    lines = [] if told is None else told
    with MetricsWriter(folder, after, trackers_of(SETTINGS, lines.append)) as writer:
        for step in range(first, last + 1):
            writer.write(record(step))
    return writer.problems


def test_a_resumed_run_goes_on_under_its_id_and_sends_nothing_twice(tmp_path, server):
    """Killed at step 12, resumed at 10; then an attempt without the tracker, whose steps come later."""
    told: list[str] = []
    assert write(tmp_path, 1, 12, told=told) == []
    assert write(tmp_path, 11, 15, after=10) == []
    with MetricsWriter(tmp_path, 15) as writer:
        writer.write(record(16))
    assert write(tmp_path, 17, 18, after=16) == []
    ((name, history),) = server.runs.items()
    assert list(history) == [record(step)["samples"] for step in range(1, 19)]
    assert told == [f"Weights & Biases: https://wandb.example/{name}"]
    assert json.loads((tmp_path / "wandb-run.json").read_text()) == {"id": name}
    assert {begun["project"] for begun in server.begun} == {"adabatch"}


def test_names_are_those_of_the_records_and_of_tensorboard(tmp_path, server):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    both = load_settings(overrides={"wandb": True, "tensorboard": True})
    measured = record(1) | {"val_loss/code": 2.5, "at_start": {"val_loss/code": 5.0}}
    told: list[str] = []
    with MetricsWriter(tmp_path, trackers=trackers_of(both, told.append)) as writer:
        writer.write(measured)
    ((_, history),) = server.runs.items()
    assert history == dict(scalars(measured))
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    names = events.Tags()["scalars"]
    shown = {name: [(event.step, event.value) for event in events.Scalars(name)] for name in names}
    assert shown["val_loss/code"] == [(0, 5.0), (4, 2.5)]
    assert set(shown) == set(history[0]) | set(history[4])
    assert sorted(told)[0] == f"TensorBoard: tensorboard --logdir {tmp_path}/tensorboard"


def test_what_cannot_be_reached_is_recorded_offline_with_one_line(tmp_path, server):
    server.refusal = RuntimeError("no route to host\nand more")
    told: list[str] = []
    assert write(tmp_path, 1, 3, told=told) == []
    assert [begun["mode"] for begun in server.begun] == ["offline"]
    server.refusal, server.known = None, False
    write(tmp_path, 4, 4, after=3, told=told)
    assert "offline (no login: wandb login, or WANDB_API_KEY); to upload: wandb sync" in told.pop()
    synced = f"wandb sync {tmp_path}/wandb/offline-run-1"
    assert told == [f"Weights & Biases: offline (no route to host and more); to upload: {synced}"]
    ((_, history),) = server.runs.items()
    assert len(history) == 4


def test_a_tracker_that_fails_is_one_line_and_loses_no_record(tmp_path, server, monkeypatch):
    monkeypatch.setattr(server, "init", lambda **_: (_ for _ in ()).throw(SystemExit("no\nserver")))
    assert write(tmp_path, 1, 3) == ["the run in Weights & Biases is cut short (no server)"]
    assert len(read_metrics(tmp_path)) == 3


def test_training_waits_for_no_server(tmp_path, server, monkeypatch):
    """All records are written, and the end is reached, while the server does not answer."""
    monkeypatch.setattr(adapter, "PATIENCE", 0.05)
    server.open.clear()
    problems = write(tmp_path, 1, 3)
    assert server.runs == {}
    assert len(read_metrics(tmp_path)) == 3
    assert problems == ["the run in Weights & Biases is cut short (numbers were still being sent after 0.05 s)"]
    server.open.set()


@pytest.mark.parametrize("package", ["tensorboard", "wandb"])
def test_what_to_install_is_told_before_anything_is_written(tmp_path, monkeypatch, package):
    asked = load_settings("demo", overrides={package: True, "output": str(tmp_path / "run")})
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf"--{package} needs .*: pip install 'adabatch\[{package}\]'"):
        launch(asked)
    monkeypatch.delitem(sys.modules, package)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    (tmp_path / package).mkdir()  # as they write it into a working directory
    with pytest.raises(ValueError, match=f"--{package} needs"):
        require_trackers(asked.run)
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_overwritten_begins_another(tmp_path, server):
    write(tmp_path, 1, 2)
    (name,) = server.runs
    own, other = (tmp_path / "wandb" / f"offline-run-20260101_000000-{id}" for id in (name, "other"))
    for path in (own, other):
        path.mkdir(parents=True)
        (path / "run.wandb").touch()
    adapter.remove_wandb(tmp_path)
    assert (own.exists(), other.exists(), (tmp_path / "wandb-run.json").exists()) == (False, True, False)
    write(tmp_path, 1, 2)
    assert len(server.runs) == 2


BLOCK, HEADER = 2**15, 7
"""Bytes of a block of the client's file, and of the head of the file and of each piece: a log as of LevelDB."""


def pieces(data: bytes):
    """The messages in such a file: whole in one piece (kind 1), or from a first (2) to a last one (4)."""
    place, message = HEADER, b""
    while place + HEADER <= len(data):
        if BLOCK - place % BLOCK < HEADER:
            place += BLOCK - place % BLOCK
            continue
        begin, kind = place + HEADER, data[place + 6]
        place = begin + int.from_bytes(data[begin - 3 : begin - 1], "little")
        message = data[begin:place] if kind in (1, 2) else message + data[begin:place]
        if kind in (1, 4):
            yield message


def logged(folder):
    """The numbers in the files of the attempts, in order: of each the history by the samples seen."""
    from wandb.proto.wandb_internal_pb2 import Record

    attempts = []
    for path in sorted((folder / "wandb").glob("offline-run-*/*.wandb")):
        history = {}
        for message in pieces(path.read_bytes()):
            found = Record.FromString(message)
            if found.WhichOneof("record_type") == "history":
                items = found.history.item
                row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
                history[row["_step"]] = {key: value for key, value in row.items() if not key.startswith("_")}
        attempts.append(history)
    return attempts


def test_the_client_itself_offline_through_a_resumption(tmp_path, monkeypatch):
    """Each attempt's file holds all of the run, under one id: the names and numbers of metrics.jsonl."""
    pytest.importorskip("wandb.sdk")
    monkeypatch.setenv("WANDB_MODE", "offline")
    (tmp_path / "text.txt").write_text("a batch grows as the noise does. " * 400)
    small = {"model": "nano", "data": str(tmp_path / "text.txt"), "samples": 16, "warmup_samples": 4, "threads": 1}
    small |= {"schedule": "constant", "initial_batch": 4, "sequence_length": 16, "validation_interval": 8}
    small |= {"figures": False, "validate_at_start": True, "wandb": True, "output": str(tmp_path / "run")}
    assert launch(load_settings("demo", overrides=small)) == 0
    more = small | {"samples": 24, "resume": "auto", "allow": ("samples",)}
    assert launch(load_settings("demo", overrides=more)) == 0
    expected = {}
    for line in read_metrics(tmp_path / "run"):
        expected |= dict(scalars(line))
    first, second = logged(tmp_path / "run")
    assert second == expected
    assert first == {samples: numbers for samples, numbers in expected.items() if samples <= 16}
    names = {path.name.rpartition("-")[2] for path in (tmp_path / "run" / "wandb").glob("offline-run-*")}
    assert names == {json.loads((tmp_path / "run" / "wandb-run.json").read_text())["id"]}
