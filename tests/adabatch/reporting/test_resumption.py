"""Records of a run that resumes: kept to the byte where they are the checkpoint's, refused where they are not."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adabatch.reporting.metrics import cut_records, read_metrics
from adabatch.reporting.resumption import describe_records, problem_with_records

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
STEP = 5


def lines(first: int, last: int, loss: float = 0.1) -> list[str]:
    return [
        json.dumps({"step": step, "samples": 4 * step, "loss": loss}) + "\n" for step in range(first, last + 1)
    ]


@pytest.fixture
def metrics(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(lines(1, STEP)))
    return path


@quick
@given(
    behind=st.one_of(st.binary(max_size=30), st.integers(1, 4).map(lambda n: "".join(lines(6, 5 + n)).encode()))
)
def test_what_stands_behind_the_checkpoint_is_cut(metrics, behind):
    metrics.write_text("".join(lines(1, STEP)))
    known = describe_records(metrics)
    with metrics.open("ab") as file:
        file.write(behind)
    assert problem_with_records(metrics, STEP, known) is None
    cut_records(metrics, STEP)
    assert metrics.read_text() == "".join(lines(1, STEP))


@quick
@given(data=st.data())
def test_any_other_byte_before_is_refused(metrics, data):
    metrics.write_text("".join(lines(1, STEP)))
    known, content = describe_records(metrics), bytearray(metrics.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    metrics.write_bytes(content)
    assert problem_with_records(metrics, STEP, known) is not None


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ([], "lacks the records of steps 1 to 5"),
        (lines(1, 2) + lines(4, 5), "lacks the records of steps 3 to 3"),
        (lines(2, 5), "lacks the records of steps 1 to 1"),
        (lines(1, 4), "lacks the records of steps 5 to 5"),
        ([*lines(1, 4), '{"step": 5, "sam'], "lacks the records of steps 5 to 5"),
        (lines(1, 3) + lines(3, 5), "holds step 3 twice"),
        (lines(1, 5) + lines(4, 6), "holds records of steps up to 5 once more behind those of the checkpoint"),
        (lines(1, 1) + lines(3, 3) + lines(2, 2) + lines(4, 5), "lacks the records of steps 2 to 2"),
        (lines(1, 3) + lines(2, 5), "is out of order: step 2 follows step 3"),
        (lines(1, 5, loss=0.2), "holds the records of another run, or was edited"),
        ([*lines(1, 2), "{}\n", *lines(4, 5)], "is damaged: line 3 is not a record"),
        ([*lines(1, 2), '{"step": "x"}\n', *lines(4, 5)], "is damaged: line 3 is not a record"),
        ([*lines(1, 2), '{"step": null}\n', *lines(4, 5)], "is damaged: line 3 is not a record"),
    ],
)
def test_what_is_refused_and_how_it_is_called(metrics, found, problem):
    known = describe_records(metrics)
    metrics.write_text("".join(found))
    assert problem_with_records(metrics, STEP, known) == problem


def test_records_that_were_gone_when_the_checkpoint_was_saved(metrics):
    """metrics.jsonl was moved away while the run trained: nothing is asked of it, and back again it is whole."""
    nothing = describe_records(metrics.with_name("absent.jsonl"))
    assert problem_with_records(metrics.with_name("absent.jsonl"), STEP, nothing) is None
    assert problem_with_records(metrics, STEP, nothing) is None
    metrics.write_text("".join(lines(1, 3)))
    assert problem_with_records(metrics, STEP, nothing) == "lacks the records of steps 4 to 5"


def test_records_that_reached_the_disk_after_the_checkpoint(metrics):
    """The disk was full while the checkpoint was saved; the lines were kept and written later."""
    metrics.write_text("".join(lines(1, 3)) + '{"step": 4, ')
    known = describe_records(metrics)
    with metrics.open("a") as file:
        file.write('"samples": 16, "loss": 0.1}\n' + "".join(lines(5, 6)))
    assert problem_with_records(metrics, STEP, known) is None
    cut_records(metrics, STEP)
    assert metrics.read_text() == "".join(lines(1, STEP))


def test_a_run_that_begins_at_the_checkpoint_of_another(metrics):
    known = describe_records(metrics)
    for own in ([], lines(6, 9)):
        metrics.write_text("".join(own))
        assert problem_with_records(metrics, STEP, known, elsewhere=True) is None
        cut_records(metrics, STEP)
        assert metrics.read_text() == ""
    metrics.write_text("".join(lines(1, 9, loss=0.3)))
    assert problem_with_records(metrics, STEP, known, elsewhere=True) is not None


@pytest.mark.parametrize(
    "line",
    [
        *("{}", '{"step": "x", "samples": 4}', '{"step": null, "samples": 4}', '{"step": 1}', "[]", "3"),
        *('{"step": 1, "samples": 4, "loss": "low"}', '{"step": true, "samples": 4}', '{"step": 0, "samples": 4}'),
        '{"step": 1, "samples": 4, "batch_size": "x"}',
    ],
)
def test_lines_that_are_no_records_are_refused_by_readers(metrics, line):
    metrics.write_text("".join(lines(1, 2)) + line + "\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 3: no record") as refused:
        read_metrics(metrics)
    assert "\n" not in str(refused.value)
