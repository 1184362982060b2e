"""Mixtures: exact shares at every sample, a slow twin of the order, and what is read from several sources."""

import json
import math
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from adabatch.data import mixture
from adabatch.data.corpus import check_sources, open_corpus
from adabatch.data.mixture import MixtureOrder, shuffled
from adabatch.data.order import group_positions
from adabatch.data.preparation import prepare
from adabatch.data.progress import summary_of
from adabatch.distributed.parallel import DistributedContext
from adabatch.schedules import MicroBatchPlan
from adabatch.settings import DataSettings, load_settings
from adabatch.settings.mixture import Ingredient, ingredients_of
from adabatch.training.loop import next_batch

parts = st.lists(st.integers(1, 40), min_size=1, max_size=9).map(tuple)


def order_of(*shares: str) -> MixtureOrder:
    return MixtureOrder([Ingredient(f"source {i}", Decimal(share)) for i, share in enumerate(shares)])


def twin(parts: tuple[int, ...]) -> list[int]:
    """The order from a list of all samples of a period with their windows, in fractions."""
    size, order = sum(parts), []
    waiting = [
        (math.ceil(Fraction((number + 1) * size, part)), source, math.floor(Fraction(number * size, part)))
        for source, part in enumerate(parts)
        for number in range(part)
    ]
    for position in range(size):
        end, source, begin = min(sample for sample in waiting if sample[2] <= position)
        assert begin <= position < end
        waiting.remove((end, source, begin))
        order.append(source)
    return order


class TestOrder:
    @hypothesis_settings(deadline=None, max_examples=50)
    @given(parts=parts)
    def test_shares_differ_by_less_than_one_sample_at_every_prefix(self, parts):
        counts = np.cumsum(np.eye(len(parts), dtype=int)[mixture._period(parts)], axis=0)
        asked = np.outer(np.arange(1, len(counts) + 1), parts)  # times sum(parts)
        assert (abs(counts * sum(parts) - asked) < sum(parts)).all()
        assert (counts[-1] == parts).all()

    @hypothesis_settings(deadline=None, max_examples=25)
    @given(parts=parts)
    def test_the_order_is_that_of_the_twin(self, parts):
        assert mixture._period(parts).tolist() == twin(parts)

    @pytest.mark.parametrize(
        "shares", [("0.7", "0.3"), ("1",), ("0.0001", "0.9999"), ("0.3333", "0.3333", "0.3334")]
    )
    def test_any_position_by_itself(self, shares):
        order = order_of(*shares)
        start = 30_000 - 20
        sources, indices = order.places(range(start, start + 40))
        counts = order.counts(start)
        for number, (source, index) in enumerate(zip(sources.tolist(), indices.tolist(), strict=True)):
            assert index == counts[source]
            assert [int(value[0]) for value in order.places([start + number])] == [source, index]
            assert order.counts(start + number).tolist() == counts.tolist()
            counts[source] += 1
            error = abs(counts - (start + number + 1) * np.array(list(map(float, shares))))
            assert (error < 1 + 1e-9).all()

    @hypothesis_settings(deadline=None, max_examples=30)
    @given(parts=parts, data=st.data())
    def test_the_length_is_up_to_the_source_that_ends_first(self, parts, data):
        lengths = data.draw(st.lists(st.integers(0, 90), min_size=len(parts), max_size=len(parts)))
        order = order_of("1")
        order._parts = parts
        length = order.length(lengths)
        assert (order.counts(length) <= lengths).all()
        assert (order.counts(length + 1) > lengths).any()

    def test_no_group_of_the_test_gets_one_source(self):
        """Of n groups, each takes every n-th position: without the shuffle one has all of a source."""
        order, steps = order_of("0.5", "0.25", "0.25"), 400
        for accumulation, micro_batch in ((2, 4), (4, 2), (4, 8), (5, 3)):
            plan = MicroBatchPlan(1, accumulation, micro_batch)
            first = np.zeros((2, accumulation))
            for start in range(0, steps * plan.batch_size, plan.batch_size):
                groups = group_positions(start, 0, plan)
                whole = [p for group in groups for p in group]
                dealt = shuffled(whole, start, plan.batch_size, seed=1)
                assert sorted(dealt) == sorted(whole)
                for way, positions in enumerate((whole, dealt)):
                    own = (order.places(positions)[0] == 0).reshape(accumulation, micro_batch)
                    first[way] += own.mean(axis=1) / steps
            deviation = 5 * math.sqrt(0.25 / (steps * micro_batch))
            assert abs(first[1] - 0.5).max() < deviation
            if accumulation == 4:
                assert abs(first[0] - 0.5).max() > 2 * deviation


@pytest.fixture
def texts(tmp_path):
    """Two files whose tokens tell them apart: one of lower-case letters, one of capitals."""
    for name, first in (("a.jsonl", 97), ("b.jsonl", 65)):
        lines = [{"text": "".join(chr(first + (7 * i + j) % 26) for j in range(20 + i % 5))} for i in range(80)]
        (tmp_path / name).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return tmp_path


def settings_of(folder, *shares, **changes) -> DataSettings:
    names = [f"{folder}/{name}.jsonl:{share}" for name, share in zip("ab", shares, strict=False)]
    given = {"sequence_length": 8, "cache": str(folder / "cache"), "validation_fraction": 0.2} | changes
    return DataSettings(**{"data": names} | given)


def capitals(samples) -> np.ndarray:
    """Which samples are of the second file."""
    return ((samples >= 65) & (samples < 91)).any(dim=1).numpy()


class TestCorpus:
    def test_each_source_is_in_the_order_that_it_has_alone(self, texts):
        mixed = open_corpus(settings_of(texts, "0.75", "0.25"))
        taken = mixed.train.take(range(120))
        assert capitals(taken).sum() == 30
        for number, name in enumerate("ab"):
            alone = open_corpus(settings_of(texts, data=[f"{texts}/{name}.jsonl"])).train
            own = taken[capitals(taken) == bool(number)]
            assert own.tolist() == alone.take(range(len(own))).tolist()
        assert mixed.train.samples_by_source(120) == {"a.jsonl": 90, "b.jsonl": 30}
        assert mixed.train.describe()["shares"] == ["0.75", "0.25"]

    def test_sources_are_prepared_once_for_all_shares(self, texts):
        alone = prepare(settings_of(texts, data=[f"{texts}/a.jsonl"]))
        first = prepare(settings_of(texts, "0.75", "0.25"))
        assert first == prepare(settings_of(texts, "0.5", "0.5"))
        members = json.loads((first / "corpus.json").read_text())["members"]
        assert members[0] == alone.name
        assert len(list((texts / "cache" / "corpora").iterdir())) == 3
        assert "tokens for training" in summary_of(first)

    def test_validation_is_mixed_too(self, texts):
        corpus = open_corpus(settings_of(texts, "0.75", "0.25"))
        length = corpus.validation.length
        lengths = [source.length for source in corpus.validation.sources]
        assert (corpus.validation.order.counts(length) <= lengths).all()
        assert (corpus.validation.order.counts(length + 1) > lengths).any()
        shares = capitals(corpus.validation.take(range(length))).mean()
        assert abs(shares - 0.25) <= 1 / length
        assert corpus.validation.bytes_per_token() == pytest.approx(
            sum(w * s.bytes_per_token() for w, s in zip((0.75, 0.25), corpus.validation.sources, strict=True))
        )
        named = settings_of(texts, "0.75", "0.25", validation_data=f"{texts}/b.jsonl")
        assert capitals(open_corpus(named).validation.take(range(20))).all()
        assert open_corpus(settings_of(texts, "0.75", "0.25", validation_fraction=0.0)).validation is None

    @pytest.mark.parametrize("first", ["held-out", "prose={}/b.jsonl"])
    def test_validation_sets_are_prepared_apart_from_the_sources(self, texts, first):
        """The first set is that of the mixture without the others, and so are the sources."""
        first = first.format(texts)
        alone = open_corpus(settings_of(texts, "0.75", "0.25", validation_data=(first,)))
        corpus = open_corpus(settings_of(texts, "0.75", "0.25", validation_data=(first, f"code={texts}/a.jsonl")))
        assert corpus.folder == alone.folder
        assert corpus.validation.take(range(9)).equal(alone.validation.take(range(9)))
        assert not capitals(corpus.others["code"].take(range(9))).any()

    def test_one_tokenizer_for_all_sources(self, texts):
        settings = settings_of(texts, "0.5", "0.5", tokenizer="bpe", vocabulary_size=300, sequence_length=4)
        corpus = open_corpus(settings)
        text = corpus.tokenizer.decode(corpus.train.take(range(20)).flatten().numpy())
        assert any(letter in text for letter in "abc")
        assert any(letter in text for letter in "ABC")
        assert (corpus.folder / "tokenizer.json").is_file()

    def test_a_source_that_ends_begins_again_in_another_order(self, texts):
        settings = settings_of(texts, "0.9", "0.1", repeat_sources=True)
        train = open_corpus(settings).train
        size = train.sources[0].length
        assert train.length < size / 0.9 + 2
        taken = train.take(range(2 * math.ceil(size / 0.9)))
        own = [tuple(row) for row in taken[~capitals(taken)].tolist()]
        assert own[:size] != own[size : 2 * size]
        assert sorted(own[:size]) == sorted(own[size : 2 * size])

    def test_streams_are_mixed_and_resume_on_any_number_of_ranks(self, texts):
        """The twin: the streams alone, each read forwards."""
        settings = settings_of(texts, "0.7", "0.3", streaming=True, stream_shards=4, shuffle_buffer=16)
        settings = DataSettings(**{**vars(settings), "streaming_validation_tokens": 64})
        whole = open_corpus(settings)
        expected = whole.train.take(range(60)).tolist()
        assert whole.train.length is None
        assert whole.validation.length > 0
        for number, member in enumerate(settings.members()):
            own = [row for row in expected if capitals(whole.train.take([0]).new_tensor([row]))[0] == bool(number)]
            assert own == open_corpus(member).train.take(range(len(own))).tolist()
        start, states = 0, []
        for ranks, steps in ((3, 2), (1, 3), (2, 2)):
            sources = [open_corpus(settings).train for _ in range(ranks)]
            for source in sources:
                source.load_state_dict(json.loads(json.dumps(states)), start)
            for _ in range(steps):
                step = range(start, start + 4 * ranks)
                readers = whole.train.readers(step, ranks)
                assert (readers is None) == (ranks == 1)
                for rank, source in enumerate(sources):
                    own = [p for n, p in enumerate(step) if readers is None or readers[n] == rank]
                    assert source.take(own).tolist() == [expected[p] for p in own]
                start = step.stop
            opened = [
                (number, shard)
                for source in sources
                for number, stream in enumerate(source.sources)
                for shard in stream._open
            ]
            assert len(opened) == len(set(opened)), "no shard of a source is read by two ranks"
            states = [source.state_dict() for source in sources]


def test_the_trainer_deals_the_samples_of_a_step_at_random(texts):
    settings = settings_of(texts, "0.5", "0.5")
    train, plan = open_corpus(settings).train, MicroBatchPlan(1, accumulation=2, micro_batch=6)
    run = SimpleNamespace(samples=24, corpus=SimpleNamespace(train=train), settings=SimpleNamespace(data=settings))
    run.ranks = DistributedContext()
    groups = next_batch(run, plan, 8)
    assert sorted(torch.cat(groups).tolist()) == sorted(train.take(range(24, 36)).tolist())
    assert all(0 < capitals(group).sum() < 6 for group in groups)
    assert [capitals(train.take(group)).sum() for group in group_positions(24, 0, plan)] == [0, 6]


class TestBadInput:
    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (["a:0.7", "b:0.2"], r"shares of a mixture must sum to 1, but a 0\.7, b 0\.2 sum to 0\.9: change"),
            (["a:0.3333", "b:0.3333", "c:0.3333"], r"sum to 0\.9999"),
            (["a:0.7", "b"], r"--data b has no share, unlike others: give each one \(b:0\.5\) or none"),
            (["a:1.5", "b:0.5"], r"the share of --data a is 1\.5: give a number above 0 and at most 1"),
            (["a:-0.5", "b:1"], r"the share of --data a is -0\.5"),
            (["a:0", "b:1"], r"the share of --data a is 0:"),
            (["a:0.33333", "b:0.66667"], r"the share of --data a is 0\.33333.* at most 4 decimals"),
            (["a:1.2.3", "b:1"], r"the share of --data a is 1\.2\.3"),
            (["a:0,7", "b:0,3"], r"the share of --data a is 0,7: give a number .* such as 0\.25"),
            (["a:70%", "b:30%"], r"the share of --data a is 70%: give a number"),
            (["a:1e-999999999", "b:1"], r"the share of --data a is 1e-999999999"),
            (["a:0.5", "a:0.5"], "--data names a 2 times: name it once, with the sum of its shares"),
        ],
    )
    def test_shares(self, names, message):
        with pytest.raises(ValueError, match=message) as refusal:
            load_settings(overrides={"data": names})
        assert "\n" not in str(refusal.value)

    def test_shares_of_validation_data(self):
        with pytest.raises(
            ValueError, match=r"--validation-data v\.txt:0\.5 has a share: shares are for --data alone"
        ):
            DataSettings(validation_data=["v.txt:0.5", "w.txt:0.5"])

    def test_a_source_that_ends_before_the_samples_do(self, texts):
        settings = settings_of(texts, "0.9", "0.1")
        folder = prepare(settings)
        size = open_corpus(settings).train.length
        check_sources(settings, folder, size)
        with pytest.raises(
            ValueError,
            match=rf"the source .*a\.jsonl has \d+ sequences of 8 tokens for training, but its share of 0\.9 "
            rf"takes \d+ of {size + 1} samples: .* \(--repeat-sources\)$",
        ):
            check_sources(settings, folder, size + 1)
        check_sources(settings_of(texts, "0.9", "0.1", repeat_sources=True), folder, 10**9)
        check_sources(
            settings_of(texts, data=[f"{texts}/a.jsonl"]), folder, 10**9
        )  # one source repeats, as always

    def test_a_source_shorter_than_a_sequence_is_named(self, texts):
        (texts / "b.jsonl").write_text('{"text": "bbb"}\n')
        settings = settings_of(texts, "0.5", "0.5", validation_fraction=0.0)
        with pytest.raises(ValueError, match=r"data '[^']*b\.jsonl' has 4 tokens, less than one sequence"):
            check_sources(settings, prepare(settings), 1)

    def test_a_missing_source_is_named(self, texts):
        with pytest.raises(ValueError, match=r"no file or folder .*missing\.jsonl \("):
            prepare(settings_of(texts, data=[f"{texts}/a.jsonl:0.5", f"{texts}/missing.jsonl:0.5"]))

    @pytest.mark.parametrize("members", [None, ["x"], [1, 2]])
    def test_a_damaged_description(self, texts, members):
        settings = settings_of(texts, "0.5", "0.5")
        folder = prepare(settings)
        record = json.loads((folder / "corpus.json").read_text())
        (folder / "corpus.json").write_text(json.dumps(record | {"members": members}))
        with pytest.raises(ValueError, match=r"corpus\.json is damaged; delete .* to prepare it again"):
            open_corpus(settings, folder)


class TestNames:
    def test_an_existing_file_of_the_very_name_wins(self, texts, monkeypatch):
        (texts / "a.jsonl").rename(texts / "a.jsonl:0.7")
        settings = settings_of(texts, data=[f"{texts}/a.jsonl:0.7"])
        assert settings.mixture == ()
        assert open_corpus(settings).train.length > 0
        monkeypatch.chdir(texts)
        assert ingredients_of(["a.jsonl:0.7:0.5", "b.jsonl:0.5"])[0] == ("a.jsonl:0.7", Decimal("0.5"))

    def test_paths_in_a_settings_file_begin_at_its_folder(self, texts):
        (texts / "c.txt:0.5").write_text("x")
        file = texts / "mine.toml"
        file.write_text('[data]\ndata = ["a.jsonl:0.25", "stdlib:0.25", "owner/name:0.5"]\n')
        data = load_settings(file=file).data.data
        assert data == (f"{texts / 'a.jsonl'}:0.25", "stdlib:0.25", "owner/name:0.5")
        file.write_text('[data]\ndata = ["c.txt:0.5"]\n')
        assert load_settings(file=file).data.data == (f"{texts / 'c.txt'}:0.5",)
