"""Every command on terminals that lack most characters, and paths and messages that look like markup."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adabatch.commands import main
from adabatch.commands.application import COMMANDS
from adabatch.terminal import console, plain, prepare_streams

ENCODINGS = ("cp1252", "latin-1", "ascii")


def printed(monkeypatch, encoding: str, *words: str) -> tuple[int, str, str]:
    """Exit code and what a command prints on streams of this encoding, which fail at what they lack."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict", newline="\n") for _ in range(2)]
    monkeypatch.setattr(sys, "argv", ["adabatch", *words])
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    with pytest.raises(SystemExit) as ended:
        main()
    texts = []
    for stream in streams:
        stream.flush()
        texts.append(stream.buffer.getvalue().decode(encoding))
    return int(ended.value.code or 0), *texts


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_the_help_of_every_command(monkeypatch, encoding, command):
    code, out, _ = printed(monkeypatch, encoding, *filter(None, [command, "--help"]))
    assert code == 0
    assert f"Usage: adabatch {command}".rstrip() in out


@pytest.mark.parametrize(
    ("words", "known", "encoding"),
    [
        *((["prove", "L5", "--show"], "L5", encoding) for encoding in ENCODINGS),
        *((["claims"], "Claims of arXiv", encoding) for encoding in ENCODINGS),
        # What takes longer on the terminal that lacks most; an encoding changes characters, not what is computed.
        (["prove", "L5"], "1 of 1 proofs hold", "ascii"),
        (["claims", "--show", "Lemma B.1"], "Lemma B.1", "ascii"),
        (["covers", "--preset", "demo"], "469,632 parameters", "ascii"),
        (["train", "--dry-run"], "Memory of a rank", "ascii"),
    ],
)
def test_what_commands_print(monkeypatch, encoding, words, known):
    code, out, _ = printed(monkeypatch, encoding, *words)
    assert code == 0
    assert known in out


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_json_stays_json(monkeypatch, encoding):
    claims = json.loads(printed(monkeypatch, encoding, "claims", "--json")[1])
    assert claims == json.loads(printed(monkeypatch, "utf-8", "claims", "--json")[1])
    assert len(claims) > 10


@pytest.mark.parametrize("encoding", ["utf-8", *ENCODINGS])
def test_a_run_whose_folder_and_data_are_named_as_no_terminal_shows(monkeypatch, tmp_path, encoding):
    """The path of a run is printed as it is, in ASCII where the terminal lacks a character."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "données-字.txt").write_text("some text of a few words. " * 200, encoding="utf-8")
    run = "runs/[bold]x[/red]:bug:[0.9,0.95]η"
    words = f"train --model tiny --samples 8 --schedule constant --warmup-samples 4 --no-figures --output {run}"
    small = "--sequence-length 32 --validation-interval 0 --initial-batch 4 --max-batch 4 --data données-字.txt"
    code, out, err = printed(monkeypatch, encoding, *f"{words} {small} --threads 1".split())
    assert code == 0, err
    shown = run if encoding == "utf-8" else run.replace("η", "eta")
    assert f"metrics: {shown}/metrics.jsonl" in out
    assert (tmp_path / run / "metrics.jsonl").read_text().count("\n") == 2


text = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=40)
marked = st.lists(
    st.sampled_from(["[bold]", "[/]", "[/red]", "[0.9,1]", ":bug:", "\\[", "[link=x]", "a", "é", "η"])
)


@given(message=text | marked.map("".join))
@example(message="[red]x[/blue]")
@example(message="runs/[bold]sweep")
@example(message="C:\\[a]")
def test_a_console_prints_any_message_as_it_is(message):
    target = console()
    target.file = io.StringIO()
    target.print(message, soft_wrap=True)
    assert target.file.getvalue() == message + "\n"


@given(message=st.text(st.characters(exclude_characters="\r")), encoding=st.sampled_from([*ENCODINGS, "utf-8"]))
@example(message="\udcff", encoding="utf-8")
def test_a_prepared_stream_takes_any_text(message, encoding):
    before = sys.stdout
    sys.stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict", newline="\n")
    try:
        prepare_streams()
        print(message, end="", flush=True)
        written = sys.stdout.buffer.getvalue().decode(encoding)
    finally:
        sys.stdout = before
    try:
        message.encode(encoding)
    except UnicodeEncodeError:
        assert written
    else:
        assert written == message


@given(character=st.characters())
def test_any_character_has_a_plain_form(character):
    assert plain(character).isascii()
    assert plain(character)
    assert character.isascii() <= (plain(character) == character)


def test_consoles_come_from_one_place():
    """A console of its own would take a path's brackets for markup."""
    root = Path(__file__).parents[3]
    own = []
    for package in ("adabatch", "proofs", "simulate"):
        for path in (root / package).rglob("*.py"):
            lines = path.read_text(encoding="utf-8").splitlines()
            own += [
                f"{path.relative_to(root)}:{number}"
                for number, line in enumerate(lines, 1)
                if "Console(" in line and "markup=False, emoji=False" not in line
            ]
    assert own == []
