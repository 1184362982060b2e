"""Users' mistakes with files, words and the environment: one line that names what was given, and exit code 2."""

from __future__ import annotations

import errno
import io
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adabatch.commands import main
from adabatch.refusals import REASONS, named_paths, one_line, refusal_of, refusing_os_errors

SMALL = ["--model", "tiny", "--data", "good.txt", "--samples", "8", "--sequence-length", "32", "--no-figures"]
SMALL += ["--schedule", "constant", "--warmup-samples", "4", "--validation-interval", "0", "--initial-batch", "4"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a text, a file, links that lead nowhere, and a damaged run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.txt").write_text("some words of a text " * 300)
    (tmp_path / "a-file").write_text("x")
    (tmp_path / "dangling").symlink_to("nowhere/at/all")
    (tmp_path / "loop").symlink_to("loop")
    for number, line in enumerate(("{}", '{"step": "x"}', '{"step": null}', '{"step": 1, "samples": 4}')):
        (tmp_path / f"damaged-{number}").mkdir()
        (tmp_path / f"damaged-{number}" / "metrics.jsonl").write_text(line + "\n")
        (tmp_path / f"damaged-{number}" / "config.toml").write_text("[run]\noutput = '.'\n")
    return tmp_path


LONG = "n" * 300


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("a-file/run", "the output a-file/run cannot be written (Not a directory): name a folder"),
        ("/proc/run", "the output /proc/run cannot be written (No such file or directory): name a folder"),
        (LONG, "File name too long): name a folder"),
        ("loop/run", "loop/run cannot be written (Too many levels of symbolic links): name a folder"),
        ("a-file", "is a file: name a folder (--output)"),
        ("", "--output is empty: give it a value"),
        ("~nobody-at-all/x", "begins at a home folder that is not known here"),
    ],
)
def test_an_output_that_cannot_be_a_folder(adabatch, folder, output, message):
    adabatch.refuses(message, "train", *SMALL, "--output", output)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--precision", "fp16"),
            "fp16 is not offered: its gradients underflow unless the loss is scaled, and the",
        ),
        (("--fp16",), "fp16 is not offered: its gradients underflow"),
        (("--precision", "fp8"), "float8 is not offered: nothing bounds what its rounding adds"),
        (
            ("--pipeline-parallel", "2"),
            "pipeline parallelism is not offered: no rank would see a micro-batch",
        ),
        (("--context-parallel", "2"), "context parallelism is not offered: no rank would see a sequence's whole"),
    ],
)
def test_what_other_trainers_offer_is_refused_with_what_is_there_instead(adabatch, folder, words, message):
    adabatch.refuses(message, "train", *SMALL, *words)
    assert not (folder / "runs").exists()


@pytest.mark.parametrize("option", ["--lr-replay", "--replay-run"])
@pytest.mark.parametrize("name", ["loop", "dangling", LONG])
def test_a_run_to_replay_that_is_not_there(adabatch, folder, option, name):
    rule = ["--schedule", "replay"] if option == "--replay-run" else []
    adabatch.refuses(name[:100], "train", *SMALL, *rule, option, name)


@pytest.mark.parametrize("cache", ["a-file", "/proc/x", LONG])
def test_a_cache_that_cannot_be_one(adabatch, folder, monkeypatch, cache):
    message = f"name another --cache or ADABATCH_CACHE than {cache[:100]}"
    adabatch.refuses(message, "prepare", "--data", "good.txt", "--cache", cache)
    monkeypatch.setenv("ADABATCH_CACHE", cache)
    adabatch.refuses(message, "prepare", "--data", "good.txt")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["plot", "damaged-0"], "damaged-0/metrics.jsonl, line 1: no record"),
        (["plot", "damaged-1"], "damaged-1/metrics.jsonl, line 1: no record"),
        (["plot", "damaged-2"], "damaged-2/metrics.jsonl, line 1: no record"),
        (["covers", "damaged-0"], "damaged-0/metrics.jsonl, line 1: no record"),
        (["covers", "damaged-3"], "the record of step 1 lacks batch_size or micro_batch"),
        (["plot", "loop"], "no metrics at loop"),
        (["plot", ""], "it is empty: give a path (see adabatch plot --help)"),
        (["export", "", "--to", "x"], "'run': it is empty: give a path"),
        (["covers", "--config", "/dev/full"], "/dev/full is a device, not a settings file (--config)"),
        (
            ["covers", "--config", LONG],
            "has too long a name (file systems take 255 bytes): name another --config than nnn",
        ),
        (["train", "--samples", "²"], "'--samples': '²' is not a whole number"),
        (["train", "--threads", "1000000"], "--threads must be from 0 to 1,024, but is 1000000"),
        (["train", "--lr", "nan"], "--lr must be above 0 and at most 1e+30, but is nan"),
        (["train", "--beta1", "1"], "--beta1 must be at least 0 and below 1, but is 1.0"),
        (["train", "--max-growth", "1e308"], "--max-growth must be 0 (no limit) or above 1 and at most"),
        (["train", "--eta", "1e-200"], "--eta must be from 1e-06 to 1,000,000, but is 1e-200"),
        (["train", "--vocabulary-size", str(2**62)], "--vocabulary-size must be from 1 to 1,048,576"),
        (["train", "--plan-ranks", "0"], "'--plan-ranks': it must be from 1 to 65,536, but is 0"),
        (["compare", "--seeds", "0"], "'--seeds': it must be from 1 to 1,000, but is 0"),
        (["verify-bounds", "--eta", "nan"], "'--eta': it must be from 0 to 1,000,000, but is nan"),
        (["train", "--beta2-half-life", "0.5"], "--beta2-half-life must be 0 (beta2 in every step) or from 1 to"),
        (["train", "--weight-decay-scaling", "cubic"], "weight_decay_scaling = 'cubic' is not known: take one of"),
        (["train", "--lr-path", "inverse-sqrt", "--warmup-samples", "0"], "give --warmup-samples above 0"),
        (["train", "--schedule", "exchange", "--lr-path", "constant"], "there is nothing to exchange"),
        (["train", "--schedule", "exchange", "--lr-path", "cyclic", "--dry-run"], "there is nothing to exchange"),
        (["train", "--lr-replay", "nowhere"], "no metrics at nowhere: name the folder of a run"),
        (["train", "--lr-replay", "damaged-3"], "records with ascending samples and an lr each"),
        (["train", "--length-stages", "64:0.3"], "must ascend from above 0 to 1: the last stage ends with"),
        (["train", "--length-stages", "64:0.3,1024:1"], "must be from 2 to the sequence length"),
        (["train", "--length-stages", "64", "--dry-run"], "such as 64:0.3,128:1, not '64'"),
        (["train", "--model", "tinny"], "did you mean tiny?"),
        (["train", "--data", "stdlibb"], "did you mean stdlib?"),
        (["train", "--data", "god.txt"], "did you mean good.txt?"),
        (["train", "--data", "damaged-0/metric"], "there is no file or folder damaged-0/metric"),
        (["train", "--data", "x\udcff.txt"], "is not text in utf-8"),
        (["trian"], "No such command 'trian'. Did you mean 'train'? (see adabatch --help)"),
        (["train", "--sampels", "8"], "No such option: --sampels"),
        (["train", "--samples"], "'--samples' requires an argument (see adabatch train --help)"),
        (["plot"], "Missing argument 'runs' (see adabatch plot --help)"),
    ],
)
def test_other_mistakes(adabatch, folder, words, message):
    adabatch.refuses(message, *words)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RANK": "0"}, "RANK is set, but WORLD_SIZE is missing: start with torchrun"),
        ({"RANK": "x", "WORLD_SIZE": "1"}, "but RANK is 'x', which is not a number"),
        ({"RANK": "0", "WORLD_SIZE": "-1"}, "but WORLD_SIZE is '-1', which is not a number"),
        ({"RANK": "1", "WORLD_SIZE": "1"}, "RANK 1 is not below WORLD_SIZE 1"),
        ({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "²"}, "but LOCAL_RANK is '²', which is not a number"),
    ],
)
def test_a_launchers_environment_that_is_not_whole(adabatch, folder, monkeypatch, variables, message):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    adabatch.refuses(message, "train", *SMALL, "--output", "run")


def test_without_a_home_folder_the_cache_must_be_named(adabatch, folder, monkeypatch):
    monkeypatch.delenv("ADABATCH_CACHE")
    monkeypatch.setattr(
        os.path, "expanduser", lambda path: path
    )  # as without HOME and without a name for the user
    adabatch.refuses("this user has no home folder for the cache", "prepare", "--data", "good.txt")


def test_a_settings_file_is_named_with_its_path(adabatch, folder):
    (folder / "own.toml").write_text("[run]\noutput = 'a-file/run'\n")
    adabatch.refuses(f"the output {folder}/a-file/run cannot be written", "train", *SMALL, "--config", "own.toml")


def test_the_traceback_is_shown_to_who_asks_for_it(folder, monkeypatch):
    monkeypatch.setenv("ADABATCH_TRACEBACK", "1")
    monkeypatch.setattr(sys, "argv", ["adabatch", "prepare", "--data", "good.txt", "--cache", "a-file"])
    with pytest.raises(ValueError, match=r"is below a file, where a folder is needed: .* than a-file") as raised:
        main()
    assert isinstance(raised.value.__cause__, OSError)


def test_a_reader_that_has_gone_is_not_a_mistake():
    with pytest.raises(BrokenPipeError), refusing_os_errors([("--output", "x")]):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


paths = st.lists(st.sampled_from(["a", "b", "[red]", "c.txt"]), min_size=1, max_size=4).map("/".join)


@given(
    number=st.sampled_from(sorted(REASONS)) | st.integers(1, 130),
    path=paths | st.none(),
    given_paths=st.lists(st.tuples(st.sampled_from(["--output", "--cache", "run"]), paths), max_size=3),
)
def test_any_error_is_one_line_that_names_the_path_and_the_nearest_option(number, path, given_paths):
    text = refusal_of(OSError(number, os.strerror(number), path), given_paths)
    assert text == one_line(text)
    if path is None:
        assert os.strerror(number) in text
        return
    assert text.startswith(f"{path} ")
    related = [
        (option, value)
        for option, value in given_paths
        if (path + "/").startswith(value + "/") or (value + "/").startswith(path + "/")
    ]
    if not related:
        assert text.endswith(": change that, or name another place")
        return
    option, value = min(related, key=lambda pair: abs(pair[1].count("/") - path.count("/")))
    assert f"name another {option} than {value}" in text


def test_both_paths_of_a_renaming_are_looked_at():
    error = OSError(errno.ENOTDIR, "Not a directory", ".tmp-x/whole", None, "target/x")
    assert refusal_of(error, [("--to", "target/x")]).endswith("name another --to than target/x")


def test_what_names_paths():
    assert named_paths([("--data", ("a", "b")), ("--samples", 3), ("--cache", None)]) == [
        ("--data", "a"),
        ("--data", "b"),
    ]


def test_warnings_do_not_name_a_place_in_the_code(adabatch, folder):
    import warnings

    before = warnings.formatwarning
    try:
        adabatch("claims", "--help")
        stream = io.StringIO()
        stream.write(warnings.formatwarning("two\nlines", UserWarning, "file.py", 3))
    finally:
        warnings.formatwarning = before
    assert stream.getvalue() == "warning: two lines\n"
