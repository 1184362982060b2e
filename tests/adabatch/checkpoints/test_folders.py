"""Checkpoints in one process: what is complete, what is damaged, what is hostile, what is kept."""

from __future__ import annotations

import itertools
import json
import pickle
import shutil

import pytest
import torch

from adabatch.checkpoints.errors import AgreedError
from adabatch.checkpoints.folders import (
    MARKER,
    PROGRESS,
    complete_checkpoints,
    newest_first,
    plain_name,
    problem_with,
    prune,
    quarantine,
    read_json,
)
from adabatch.checkpoints.loading import choose_checkpoint, load_checkpoint, load_parameters
from adabatch.checkpoints.saving import CheckpointSaver
from adabatch.distributed.parallel import DistributedContext

ALONE = DistributedContext()


def trained(seed: int = 0) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.Linear(3, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(2):
        model(torch.randn(4, 5)).square().sum().backward()
        optimizer.step()
    return model, optimizer


def save(folder, *steps: int, keep: int = 0, asynchronous: bool = False) -> CheckpointSaver:
    saver = CheckpointSaver(folder, ALONE, keep, asynchronous)
    for step in steps:
        saver.save(step, *trained(step), {"step": step, "third": 1 / 3}, {"note": "rank"})
    saver.wait()
    return saver


def state(model, optimizer) -> list[torch.Tensor]:
    moments = [value for entry in optimizer.state_dict()["state"].values() for value in entry.values()]
    return [*model.state_dict().values(), *moments]


def equal(first, second) -> bool:
    return all(torch.equal(a, b) for a, b in zip(state(*first), state(*second), strict=True))


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_is_saved_is_loaded(tmp_path, asynchronous):
    saver = save(tmp_path, 7, asynchronous=asynchronous)
    (path,) = complete_checkpoints(tmp_path)
    assert problem_with(path) is None
    loaded = trained(seed=99)
    assert not equal(loaded, trained(7))
    assert load_checkpoint(path, *loaded, ALONE)["note"] == "rank"
    assert equal(loaded, trained(7))
    assert read_json(path / PROGRESS) == {"step": 7, "third": 1 / 3}
    model = trained(seed=99)[0]
    load_parameters(path, model, ALONE)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), trained(7)[0].parameters(), strict=True))
    (cost,) = saver.costs
    on_disk = sum(file.stat().st_size for file in path.iterdir() if file.name != MARKER)
    assert (cost.step, cost.bytes) == (7, on_disk)
    assert 0 < cost.blocked <= cost.seconds
    assert json.loads((tmp_path / "costs.jsonl").read_text())["bytes"] == on_disk


def test_a_save_in_the_background_keeps_the_state_of_its_step(tmp_path, monkeypatch):
    """Training continues while the copy is written: what is written is the copy."""
    saver = CheckpointSaver(tmp_path, ALONE, asynchronous=True)
    model, optimizer = trained(3)
    write = saver._write

    def late(*arguments):
        with torch.no_grad():
            for tensor in state(model, optimizer):
                tensor.add_(1)
        write(*arguments)

    monkeypatch.setattr(saver, "_write", late)
    saver.save(3, model, optimizer, {"step": 3})
    saver.wait()
    loaded = trained(seed=99)
    load_checkpoint(complete_checkpoints(tmp_path)[0], *loaded, ALONE)
    assert equal(loaded, trained(3))
    assert not equal((model, optimizer), trained(3))


def test_the_next_save_in_the_background_has_its_own_state(tmp_path):
    """Its copy takes the memory of the one before, which is written by then."""
    save(tmp_path, 3, 4, asynchronous=True)
    for step, path in zip((3, 4), complete_checkpoints(tmp_path), strict=True):
        loaded = trained(seed=99)
        load_checkpoint(path, *loaded, ALONE)
        assert equal(loaded, trained(step))
    assert not equal(trained(3), trained(4))


def test_random_states_go_on_where_they_were(tmp_path):
    pair = trained()
    CheckpointSaver(tmp_path, ALONE).save(1, *pair, {})
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_checkpoint(complete_checkpoints(tmp_path)[0], *pair, ALONE)
    assert torch.equal(torch.rand(3), expected)


def test_the_newest_are_kept(tmp_path):
    save(tmp_path, *range(1, 6), keep=2)
    assert [path.name for path in newest_first(tmp_path)] == ["step-00000005", "step-00000004"]


def test_what_a_kill_left_behind_is_removed_later(tmp_path):
    save(tmp_path, 1, 2)
    (tmp_path / "step-00000001" / MARKER).unlink()
    (tmp_path / "step-00000009.tmp").mkdir()
    prune(tmp_path, keep=3)
    assert [path.name for path in sorted(tmp_path.glob("step*"))] == ["step-00000002"]


def test_later_checkpoints_are_quarantined(tmp_path):
    """A damaged newer checkpoint must not outlive the good one that the run resumed from."""
    save(tmp_path, 1, 2, 3)
    (tmp_path / "step-00000003" / MARKER).unlink()
    quarantine(tmp_path, after_step=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "costs.jsonl",
        "quarantined-step-00000002",
        "step-00000001",
    ]


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def replace_by_a_link(path):
    elsewhere = path.parent.parent / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


FILES = ["__0_0.distcp", "tensors.json", "progress.json", "rank-00000.json", MARKER]
DAMAGES = {
    "truncated": truncate,
    "bit flipped": flip_a_bit,
    "missing": lambda path: path.unlink(),
    "a link": replace_by_a_link,
}


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    save(folder, 1, 2)
    return folder


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_and_the_newest_intact_one_taken(two_checkpoints, tmp_path, file, damage):
    folder = tmp_path / "checkpoints"
    shutil.copytree(two_checkpoints, folder)
    newest = folder / "step-00000002"
    assert choose_checkpoint("auto", folder, ALONE) == newest
    DAMAGES[damage](newest / file)
    named = "" if file == MARKER else file.rpartition(".")[0]  # a marker's wrong checksum reads as a wrong file
    with pytest.warns(UserWarning, match=f"skipped the checkpoint {newest}: .*{named}"):
        assert choose_checkpoint("auto", folder, ALONE) == folder / "step-00000001"
    if file != MARKER:
        with pytest.raises(AgreedError, match="is damaged"):
            choose_checkpoint(str(newest), folder, ALONE)


def test_a_run_in_place_of_its_checkpoint(two_checkpoints, tmp_path):
    (tmp_path / "checkpoints").symlink_to(two_checkpoints)
    for named in (two_checkpoints, tmp_path):
        with pytest.raises(ValueError, match=rf"name its newest, {named}/.*step-00000002, or take"):
            choose_checkpoint(str(named), two_checkpoints, ALONE)


def test_any_flipped_bit_of_any_file_is_found(two_checkpoints, tmp_path):
    """A sample of bits spread over all files, the marker included."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(two_checkpoints / "step-00000001", folder)
    for name in FILES:
        content = (folder / name).read_bytes()
        for position, bit in itertools.product(range(0, len(content), 1 + len(content) // 40), (0, 6)):
            changed = bytearray(content)
            changed[position] ^= 1 << bit
            (folder / name).write_bytes(changed)
            if name == MARKER and json_or_none(bytes(changed)) == json.loads(content):
                continue  # white space
            assert problem_with(folder) is not None, (name, position, bit)
        (folder / name).write_bytes(content)
    assert problem_with(folder) is None


def json_or_none(content: bytes):
    try:
        return json.loads(content)
    except ValueError:
        return None


def test_where_all_are_damaged_nothing_is_started_anew(tmp_path):
    save(tmp_path, 1, 2)
    for path in complete_checkpoints(tmp_path):
        flip_a_bit(path / "__0_0.distcp")
    with pytest.warns(UserWarning, match="skipped"), pytest.raises(AgreedError, match="2 damaged"):
        choose_checkpoint("auto", tmp_path, ALONE)


def test_a_first_save_cut_short_is_no_checkpoint(tmp_path):
    save(tmp_path, 1)
    (tmp_path / "step-00000001" / MARKER).unlink()
    with pytest.warns(UserWarning, match=f"{MARKER} is missing"):
        assert choose_checkpoint("auto", tmp_path, ALONE) is None


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", "", ".", "..", ".hidden", "a\0b", "x\n", 3, None])
def test_names_that_leave_the_folder(name):
    with pytest.raises(ValueError, match="not a name that a checkpoint may contain"):
        plain_name(name)


class Hostile:
    """Unpickling it writes a file."""

    def __init__(self, target) -> None:
        self.target = target

    def __reduce__(self):
        return exec, (f"open({str(self.target)!r}, 'w').close()",)


def remark(path) -> None:
    """The checksums of what is there now: what an attacker would do."""
    from adabatch.checkpoints.folders import write_marker
    from adabatch.files import checksum

    write_marker(path, {file.name: checksum(file) for file in path.iterdir() if file.name != MARKER})


def test_no_code_of_a_hostile_checkpoint_runs(tmp_path):
    target, folder = tmp_path / "run by the pickle", tmp_path / "checkpoints"
    pickle.loads(pickle.dumps(Hostile(target)))
    assert target.exists()  # the pickle works
    target.unlink()
    save(folder, 1)
    path = folder / "step-00000001"
    for file in [path / "__0_0.distcp", path / ".metadata", path / "rank-00000.json", path / "tensors.json"]:
        file.write_bytes(pickle.dumps(Hostile(target)))
        if file.name == "__0_0.distcp":  # as torch would read it: the pickle within a file of torch.save
            torch.save(Hostile(target), file)
            contents = json.loads((path / "tensors.json").read_text())
            for entry in contents.values():
                for chunk in entry["chunks"]:
                    chunk.update(position=0, bytes=file.stat().st_size)
            (path / "tensors.json").write_text(json.dumps(contents))
        if file.name != ".metadata":
            remark(path)
        loaded = trained()
        if file.name == ".metadata":
            load_checkpoint(path, *loaded, ALONE)
        else:
            with pytest.raises(ValueError, match=r"cannot be loaded|damaged"):
                load_checkpoint(path, *loaded, ALONE)
        assert not target.exists()
        shutil.rmtree(folder)
        save(folder, 1)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname"])
def test_a_checkpoint_cannot_name_files_outside(tmp_path, name):
    save(tmp_path, 1)
    path = tmp_path / "step-00000001"
    contents = json.loads((path / "tensors.json").read_text())
    for entry in contents.values():
        for chunk in entry["chunks"]:
            chunk["file"] = name
    (path / "tensors.json").write_text(json.dumps(contents))
    with pytest.raises(ValueError, match="not a name that a checkpoint may contain"):
        load_checkpoint(path, *trained(), ALONE)
    (path / MARKER).write_text(json.dumps({"files": {"progress.json": {}, name: {}}}))
    assert "not a name that a checkpoint may contain" in problem_with(path)
