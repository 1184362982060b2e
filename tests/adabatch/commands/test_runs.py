"""``adabatch runs``: damaged folders are named and left out, and what is refused is refused in one line."""

from __future__ import annotations

from tests.adabatch.experiments.test_run_table import leave_run


def test_damaged_folders_are_named_and_not_fatal(adabatch, tmp_path):
    leave_run(tmp_path / "good")
    (leave_run(tmp_path / "config") / "config.toml").unlink()
    (leave_run(tmp_path / "setting") / "config.toml").write_text("[run]\nsampels = 3\n")
    with (leave_run(tmp_path / "records") / "metrics.jsonl").open("a") as file:
        file.write("not json\n")
    with (leave_run(tmp_path / "cut") / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "samp')  # written at this moment
    done = adabatch("runs", tmp_path)
    assert done.code == 0
    assert [line.split()[-1] for line in done.out.splitlines()[1:]] == [f"{tmp_path}/cut", f"{tmp_path}/good"]
    assert done.err.splitlines() == [
        f"left out: {tmp_path}/config: {tmp_path}/config has no config.toml",
        f"left out: {tmp_path}/records: {tmp_path}/records/metrics.jsonl, line 4: no record (a JSON object with "
        "step and samples); the file is damaged, or not the metrics of a run",
        *[line for line in done.err.splitlines() if "[run] has no setting 'sampels'" in line],
    ]


def test_formats_and_what_is_refused(adabatch, tmp_path):
    run = leave_run(tmp_path / "a")
    assert adabatch.output("runs", run, "--format", "csv").startswith(
        "schedule,steps,batch,seconds,loss,val_loss,"
    )
    assert "| norm-test eta=1 |" in adabatch.output("runs", run, "--format", "markdown")
    message = "there is no column 'val-los': --sort takes one of schedule, steps, batch, seconds, loss, val_loss, "
    adabatch.refuses(message, "runs", run, "--sort", "val-los")
    adabatch.refuses("did you mean val_loss?", "runs", run, "--sort", "val-los")
    adabatch.refuses("'xml' is not one of 'text', 'csv', 'markdown'", "runs", run, "--format", "xml")
    adabatch.refuses(f"there is no folder {run}/no: name the folder of a run", "runs", run, run / "no")
