"""Certificates are verified whole and in part, and perturbed ones are refused."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from adabatch.commands import application, prove
from adabatch.moments.hypotheses import HypothesisError
from proofs.certificates import leaves, report
from proofs.certificates import verify as verification
from proofs.certificates.atoms import Atoms, Boxes, Inequality
from proofs.certificates.branching import RefusedError, UnsettledError, ViolationError, settle
from proofs.certificates.check import QUICK, check_certificate, margin
from proofs.certificates.compute import Grid, find
from proofs.certificates.intervals import down, up
from proofs.certificates.leaves import Leaf, confirmed
from proofs.certificates.verify import cover, tail_end, verify, verify_boxes, verify_file
from theory.l1.theorem3 import Certificate, Kind, certificate_files, load_certificate, save_certificate
from theory.l1.verification import read_record, record_path

FILES = {path.stem: path for path in certificate_files()}
SMALL = FILES["beta1_0_beta2_0.95_lambda_1.2"]
LARGE = FILES["beta1_0.9_beta2_0.95_lambda_0.3"]
shipped = pytest.mark.parametrize("path", FILES.values(), ids=list(FILES))


def widened(path: Path) -> Certificate:
    """With a little more lambda and less J, as they are verified."""
    found = load_certificate(path, recorded=False)
    return replace(found, noise_weight=1.05 * found.noise_weight, gain=0.9 * found.gain)


def some(certificate: Certificate, count: int, seed: int = 0) -> tuple[Inequality, Boxes]:
    inequality = Inequality(certificate)
    boxes = cover(inequality)
    return inequality, boxes.take(
        np.random.default_rng(seed).choice(len(boxes.z1), min(count, len(boxes.z1)), replace=False)
    )


# ----------------------------------------------------------------------------------------------------
# The bounds.


@shipped
def test_a_minorant_is_below_random_states_and_atoms_of_its_box(path):
    certificate = load_certificate(path, recorded=False)
    generator = np.random.default_rng(3)
    n = 4000
    inequality, boxes = some(certificate, n if certificate.beta1 else 300)
    boxes = boxes.take(np.isfinite(boxes.t1))
    n = len(boxes.z1)
    share = 10 ** generator.uniform(-3, 0, n)  # of the box
    z1 = boxes.z1 + (boxes.z2 - boxes.z1) * (1 - share) * generator.random(n)
    boxes = Boxes(z1, z1 + (boxes.z2 - boxes.z1) * share, boxes.t1, boxes.t1 + (boxes.t2 - boxes.t1) * share)
    near_zero = generator.normal(size=n) * np.exp(boxes.t2 / 2)
    elsewhere = 1 + generator.choice([-1, 1], n) * 10 ** generator.uniform(-4, 4, n)
    x1 = np.where((generator.random(n) < 0.5) & (np.abs(near_zero) < 0.5), near_zero, elsewhere)
    x2 = x1 + np.minimum(np.abs(x1), np.abs(x1 - 1)) * 10 ** generator.uniform(-4, -0.5, n)
    distances = np.abs(x1 - 1), np.abs(x2 - 1)
    atoms = Atoms(x1, x2, down(np.minimum(*distances)), up(np.maximum(*distances)))
    state = inequality.states(boxes)
    minorant = inequality.minorants(state, atoms)
    for _ in range(5):
        z, t, x = (
            low + (high - low) * generator.random(n)
            for low, high in ((boxes.z1, boxes.z2), (boxes.t1, boxes.t2), (x1, x2))
        )
        s = np.exp(t)
        true = certificate.step_value(z, s, x) - certificate.potential(z, s) - certificate.gain
        true /= np.abs(x - 1)
        steep = minorant.slope_z * (z - state.centre_z) + minorant.slope_t * (t - state.centre_t)
        assert ((true - minorant.value - steep) / (1 + np.abs(true)) > -1e-12).all()
    assert np.median(true - minorant.value - steep) < 0.1  # and not uselessly far below


@pytest.mark.parametrize("name", ["beta1_0.95_beta2_0.99_variance_0.3", "beta1_0.9_beta2_0.95_lambda_0.3"])
def test_the_second_programs_bound_is_below_random_states_and_laws_of_a_leaf(name):
    certificate = load_certificate(FILES[name], recorded=False)
    generator = np.random.default_rng(4)
    _, boxes = some(certificate, 8000)
    finite = boxes.take(np.isfinite(boxes.t1))
    edges = np.flatnonzero(np.isin(finite.t2, certificate.log_s_grid[[1, -1]]))[:30]
    balls = leaves._Balls(certificate)
    gaps = []
    for k in (*edges, *range(60)):
        z1, z2, t1, t2 = (float(getattr(finite, side)[k]) for side in ("z1", "z2", "t1", "t2"))
        x1, y1 = 1 - 10 ** generator.uniform(-2, 1), 1 + 10 ** generator.uniform(-2, 1)
        leaf = Leaf(z1, z2, t1, t2, x1, x1 + 0.1 * (1 - x1), y1, y1 + 0.1 * (y1 - 1))
        z, t, x, y = (generator.uniform(*ends, 50) for ends in zip(leaf[::2], leaf[1::2], strict=True))
        true = margin(certificate, z, np.exp(t), x, y) * (y - x) / ((1 - x) * (y - 1))
        bound = float(balls.margin(leaf))  # NaN, no bound, where a ball of s' reaches 0
        gaps.append(np.inf if np.isnan(bound) else true.min() - bound)
    assert min(gaps) > -1e-9
    assert np.median(gaps) < 2.0  # and not uselessly far below


def test_a_leaf_at_the_last_row_below_the_tail_is_one_part(monkeypatch):
    """The tail's slope, and a neighbouring cell's, are not the cell's own."""
    monkeypatch.setattr(leaves, "MOST_PARTS", 4)
    found = load_certificate(FILES["beta1_0.95_beta2_0.99_variance_0.3"], recorded=False)
    z, t = found.z_grid[26:28], found.log_s_grid[-2:]
    leaf = Leaf(*z, *t, 0.9014738746643062, 0.9343159164428716, 1.6938567878737176, 2.0372250954070577)
    assert confirmed(replace(found, noise_weight=0.309, gain=0.95 * found.gain), leaf)
    assert not confirmed(replace(found, noise_weight=0.309, gain=1.5 * found.gain), leaf)


@shipped
def test_the_boxes_cover_every_state_below_the_tail(path):
    certificate = widened(path)
    inequality = Inequality(certificate)
    boxes = cover(inequality)
    generator = np.random.default_rng(1)
    z = inequality.reach * generator.uniform(-1, 1, 200)
    t = np.append(generator.uniform(-200, tail_end(inequality), 199), -1e6)
    inside = (boxes.z1 <= z[:, None]) & (z[:, None] <= boxes.z2)
    inside &= (boxes.t1 <= t[:, None]) & (t[:, None] <= boxes.t2)
    assert inside.any(axis=1).all()


@shipped
def test_beyond_the_tail_the_margin_is_positive(path):
    certificate = widened(path)
    inequality = Inequality(certificate)
    generator = np.random.default_rng(2)
    s = np.exp(tail_end(inequality) + generator.exponential(3, 20_000))
    z = inequality.reach * generator.uniform(-1, 1, s.size)
    low, high = 1 - 10 ** generator.uniform(-4, 6, s.size), 1 + 10 ** generator.uniform(-4, 6, s.size)
    assert margin(certificate, z, s, low, high).min() >= -1e-9


# ----------------------------------------------------------------------------------------------------
# Whole and in part.


def test_a_small_certificate_is_verified_whole():
    done = verify(load_certificate(SMALL))
    assert done.boxes >= 373
    assert done.leaves > 0


@shipped
def test_a_sample_of_boxes_of_each_certificate_is_settled(path):
    inequality, boxes = some(widened(path), 3, seed=5)
    assert verify_boxes(inequality, boxes).boxes >= 3


def test_a_variance_certificate_is_verified_and_a_raised_one_refused():
    grid = Grid(z_points=2, s_points=60, low_points=40, s_min=1e-12, s_max=20.0, tail_share=0.9, per_decade=6)
    found = find(0.0, 0.5, 1.0, grid, kind=Kind.VARIANCE)
    assert verify(replace(found, noise_weight=1.05, gain=0.85 * found.gain)).boxes > 100
    with pytest.raises(ViolationError):
        verify(replace(found, gain=1.02 * found.gain))


def test_every_record_is_of_its_file_and_of_numbers_that_are_used():
    for path in FILES.values():
        record = read_record(path)
        certificate = load_certificate(path)
        assert certificate.proven == (record is not None)
        assert replace(certificate).proven is False
        if record is not None:
            assert (certificate.noise_weight, certificate.gain) == (record.noise_weight, record.gain)
            assert certificate.largest_eta == record.largest_eta


# ----------------------------------------------------------------------------------------------------
# Negative controls.


def around(certificate: Certificate, place: str) -> tuple[Inequality, Boxes]:
    """The box of states that a search's worst state lies in."""
    _, s, _, _ = _numbers(place)
    inequality = Inequality(certificate)
    boxes = cover(inequality)
    return inequality, boxes.take((boxes.t1 <= np.log(s)) & (np.log(s) <= boxes.t2))


def test_a_gain_raised_by_two_percent_is_refused():
    """J as found leaves a safety margin of 1 percent."""
    found = load_certificate(SMALL, recorded=False)
    raised = replace(found, gain=1.02 * found.gain)
    where = str(check_certificate(raised, replace(QUICK, z_points=2)).worst)
    with pytest.raises(ViolationError, match="margin -"):
        verify_boxes(*around(raised, where))


@pytest.mark.parametrize(("knot", "change"), [(330, -1.0), (240, -2.0), (300, -3.0)])
def test_a_potential_changed_at_one_knot_is_refused(knot, change):
    certificate = widened(SMALL)
    values = certificate.values.copy()
    values[:, knot] += change
    with pytest.raises(ViolationError):
        verify(replace(certificate, values=values))


def test_a_potential_steeper_than_minus_one_in_z_is_refused():
    certificate = widened(LARGE)
    values = certificate.values.copy()
    values[-1, 100] -= 10.0
    with pytest.raises(ValueError, match="decreases in z"):
        Inequality(replace(certificate, values=values))


def test_noise_that_does_not_outweigh_the_tail_is_refused():
    certificate = load_certificate(SMALL, recorded=False)
    weight = certificate.tail_slope * np.sqrt(1 - certificate.beta2) * (1 - 1e-13)
    with pytest.raises(RefusedError, match="larger lambda"):
        tail_end(Inequality(replace(certificate, noise_weight=weight)))


def test_a_budget_that_is_used_up_names_the_box():
    inequality, boxes = some(widened(LARGE), 8)
    with pytest.raises(UnsettledError, match="z1 = "):
        settle(inequality, boxes, budget=100)


def test_the_second_program_refuses_a_false_leaf(monkeypatch):
    monkeypatch.setattr(leaves, "MOST_PARTS", 500)
    found = load_certificate(SMALL, recorded=False)
    raised = replace(found, gain=1.3 * found.gain)
    with pytest.raises(ViolationError) as caught:
        verify(raised)
    z, s, low, high = _numbers(str(caught.value))
    ends = [end for x in (z, np.log(s), low, high) for end in (x - 1e-9, x + 1e-9)]
    assert not confirmed(raised, Leaf(*ends))
    assert confirmed(replace(found, gain=0.5 * found.gain), Leaf(*ends))


def _numbers(message: str) -> list[float]:
    return [
        float(number) for number in re.findall(r"(?<![a-z])-?\d[\d.]*(?:e[+-]?\d+)?", message.split(" at ")[1])
    ]


def test_a_file_that_has_changed_is_refused(tmp_path):
    path = tmp_path / SMALL.name
    shutil.copy(record_path(SMALL), record_path(path))
    certificate = load_certificate(SMALL, recorded=False)
    save_certificate(replace(certificate, gain=1.02 * certificate.gain), path)
    with pytest.raises(HypothesisError, match="SHA-256"):
        load_certificate(path)


# ----------------------------------------------------------------------------------------------------
# The command.


def test_the_command_verifies_a_file_and_records_it(tmp_path, monkeypatch):
    monkeypatch.setattr(prove, "visible_cores", lambda: 1)
    path = tmp_path / SMALL.name
    shutil.copy(SMALL, path)
    done = CliRunner().invoke(application.app, ["prove", "certificates", str(path)])
    assert done.exit_code == 0, done.output
    assert read_record(path).leaves > 0
    assert not list(tmp_path.glob("*.jsonl"))
    assert f"{load_certificate(path).largest_eta:.4f}" in done.output


@pytest.mark.slow
def test_an_interrupted_run_is_continued(tmp_path, monkeypatch):
    path = tmp_path / SMALL.name
    shutil.copy(SMALL, path)
    numbers = 1.236, 0.70
    run, ran = verification._run, []

    def interrupted(task):
        if task.number == 4:
            raise KeyboardInterrupt
        return run(task)

    monkeypatch.setattr(verification, "_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        verify_file(path, *numbers, processes=1)
    partial = path.with_suffix(".partial.jsonl")
    assert len(partial.read_text().splitlines()) == 1 + 4
    with partial.open("a") as file:
        file.write('{"number": 4, "box')  # cut off by the interruption
    monkeypatch.setattr(verification, "_run", lambda task: ran.append(task.number) or run(task))
    record = verify_file(path, *numbers, processes=1)
    assert ran == [4, 5]
    assert record.boxes >= 373
    assert json.loads(record_path(path).read_text())["gain"] == 0.70
    assert not partial.exists()


def test_a_refused_file_has_no_record(tmp_path):
    path = tmp_path / SMALL.name
    shutil.copy(SMALL, path)
    shutil.copy(record_path(SMALL), record_path(path))
    found = load_certificate(path, recorded=False)
    with pytest.raises(RefusedError):
        verify_file(path, found.noise_weight, 1.3 * found.gain, processes=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]


@pytest.mark.slow
def test_the_quick_check_holds():
    assert report.spot_check(seed=0)
