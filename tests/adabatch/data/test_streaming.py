"""Streams: against a slow twin, over ranks and resumes, and from every kind of data."""

import dataclasses
import gzip
import itertools
import json
from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from adabatch.data.corpus import open_corpus
from adabatch.data.documents import Document, deal, read_parts
from adabatch.data.order import group_positions, seeded_permutation
from adabatch.data.sources import open_sources
from adabatch.data.streaming import Stream, StreamedSamples
from adabatch.data.tasks import write_tokens
from adabatch.data.tokenizer import ByteTokenizer
from adabatch.schedules import MicroBatchPlan
from adabatch.settings import DataSettings

datasets = pytest.importorskip("datasets")


@dataclasses.dataclass(frozen=True)
class ListPart:
    """Documents from memory, counting how many are read."""

    texts: Sequence[bytes]
    reads: list = dataclasses.field(default_factory=list)
    size = 0

    def read(self, place=()):
        for number in range(place[0] if place else 0, len(self.texts)):
            self.reads.append(number)
            yield Document(self.texts[number]), (number + 1,)


def make_stream(shards: list[list[ListPart]], length=3, buffer=0, seed=0) -> Stream:
    settings = DataSettings(sequence_length=length, stream_shards=len(shards), shuffle_buffer=buffer, seed=seed)
    return Stream(shards.__getitem__, ByteTokenizer(), settings)


def twin(stream: Stream, samples: int) -> list[list[int]]:
    """The first samples of the stream in plain Python: each shard's epochs, cut and shuffled, then interleaved."""
    lines = [shard_twin(stream, index, samples) for index in range(stream.settings.stream_shards)]
    return [lines[p % stream.settings.stream_shards][p // stream.settings.stream_shards] for p in range(samples)]


def shard_twin(stream: Stream, index: int, samples: int) -> list[list[int]]:
    home = index
    while not any(list(read_parts(stream.shard(home)))):
        home = (home + 1) % stream.settings.stream_shards
    line, rest, block = [], [], 0
    share = max(1, -(-stream.settings.shuffle_buffer // stream.settings.stream_shards))
    epoch = -1
    while len(line) * stream.settings.stream_shards < samples + stream.settings.stream_shards:
        epoch += 1
        parts = stream.shard(home)
        if stream.settings.shuffle_buffer:
            parts = [parts[i] for i in seeded_permutation(len(parts), [stream.settings.seed, 0, index, epoch])]
        for document in read_parts(parts):
            rest += [*document.text, 256]
        sequences = []
        while len(rest) >= stream.settings.sequence_length:
            sequences.append(rest[: stream.settings.sequence_length])
            rest = rest[stream.settings.sequence_length :]
        while sequences:
            size = share if block else -(-share * (index + 1) // stream.settings.stream_shards)
            filling, sequences = sequences[:size], sequences[size:]
            order = seeded_permutation(len(filling), [stream.settings.seed, 1, index, block])
            line += [filling[i] for i in order]
            block += 1
    return line


texts = st.lists(st.binary(max_size=7), max_size=5)
streams = st.builds(
    make_stream,
    st.lists(st.lists(texts.map(ListPart), max_size=3), min_size=1, max_size=4).filter(
        lambda shards: any(part.texts for shard in shards for part in shard)
    ),
    length=st.integers(2, 6),
    buffer=st.integers(0, 12),
    seed=st.integers(0, 3),
)


def step_of(
    source, start: int, rank: int, ranks: int, accumulation: int, micro_batch: int
) -> dict[int, list[int]]:
    """What one rank takes in one step, by position."""
    groups = group_positions(start, rank, MicroBatchPlan(ranks, accumulation, micro_batch))
    where = [position for group in groups for position in group]
    return dict(zip(where, source.take(where).tolist(), strict=True))


class TestOrder:
    @hypothesis_settings(deadline=None, max_examples=150)
    @given(stream=streams, count=st.integers(1, 40))
    def test_the_samples_are_those_of_the_twin(self, stream, count):
        assert StreamedSamples(stream).take(range(count)).tolist() == twin(stream, count)

    @hypothesis_settings(deadline=None, max_examples=100)
    @given(stream=streams, data=st.data())
    def test_any_ranks_any_batches_and_a_new_start_after_any_step(self, stream, data):
        """Every phase is a run with its own number of ranks, which resumes from what the ranks before it saved."""
        start, states, taken = 0, [], {}
        for _ in range(data.draw(st.integers(1, 4), "phases")):
            ranks = data.draw(st.integers(1, 4), "ranks")
            sources = [StreamedSamples(stream) for _ in range(ranks)]
            for source in sources:
                source.load_state_dict(json.loads(json.dumps(states)), start)
            for _ in range(data.draw(st.integers(0, 3), "steps")):
                accumulation, micro_batch = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
                for rank, source in enumerate(sources):
                    taken |= step_of(source, start, rank, ranks, accumulation, micro_batch)
                start += ranks * accumulation * micro_batch
            states = [source.state_dict() for source in sources]
        assert sorted(taken) == list(range(start))
        assert [taken[p] for p in range(start)] == twin(stream, start)

    @hypothesis_settings(deadline=None, max_examples=40)
    @given(stream=streams, lost=st.integers(0, 1), count=st.integers(1, 15))
    def test_a_lost_state_only_costs_time(self, stream, lost, count):
        ranks = [StreamedSamples(stream) for _ in range(2)]
        for rank, source in enumerate(ranks):
            source.take(range(rank, 2 * count, 2))
        resumed = StreamedSamples(stream)
        resumed.load_state_dict([ranks[1 - lost].state_dict()], 2 * count)
        assert resumed.take(range(2 * count, 2 * count + 9)).tolist() == twin(stream, 2 * count + 9)[2 * count :]

    def test_an_epoch_has_every_sequence_once(self):
        shards = [[ListPart([bytes([10 * s + i] * 4) for i in range(8)])] for s in range(4)]
        stream = make_stream(shards, length=5, buffer=16, seed=1)
        epochs = StreamedSamples(stream).take(range(4 * 8 * 2)).tolist()
        expected = sorted([10 * s + i] * 4 + [256] for s in range(4) for i in range(8))
        assert sorted(epochs[:32]) == sorted(epochs[32:]) == expected
        assert epochs[:32] != epochs[32:]  # in another order
        unshuffled = StreamedSamples(make_stream(shards, length=5, seed=1)).take(range(32)).tolist()
        assert sorted(unshuffled) == expected
        assert unshuffled[::4] == [[i] * 4 + [256] for i in range(8)] != epochs[:32:4]

    def test_seeds_shuffle_differently(self):
        shards = [[ListPart([bytes([i] * 4) for i in range(64)])]]
        orders = [StreamedSamples(make_stream(shards, 5, 32, seed)).take(range(64)).tolist() for seed in range(3)]
        assert len({str(order) for order in orders}) == 3

    def test_what_was_taken_last_may_be_taken_again_but_nothing_before_it(self):
        source = StreamedSamples(make_stream([[ListPart([bytes(range(90))])]]))
        first = source.take([0, 2])
        assert torch.equal(source.take([2, 0]), first.flip(0))
        source.take([4, 3])
        with pytest.raises(ValueError, match=r"sample 1 of shard 0 was asked .* at 4.*forwards only"):
            source.take([1])

    def test_no_text_at_all(self):
        with pytest.raises(ValueError, match="the stream holds no text; name data with at least one document"):
            StreamedSamples(make_stream([[], [ListPart([])]])).take([0])

    def test_a_state_of_other_data_is_not_used(self):
        shards = [[ListPart([bytes([i] * 4) for i in range(64)])]]
        saved = StreamedSamples(make_stream(shards, 5, 32, seed=0))
        saved.take(range(9))
        other = StreamedSamples(make_stream(shards, 5, 32, seed=1))
        with pytest.warns(UserWarning, match="that of other data or another order"):
            other.load_state_dict([saved.state_dict()], 9)
        fresh = StreamedSamples(make_stream(shards, 5, 32, seed=1)).take(range(20))
        assert torch.equal(other.take(range(9, 20)), fresh[9:])


class TestSharing:
    @pytest.mark.parametrize("ranks", [1, 2, 4])
    def test_each_rank_opens_its_shards_only(self, ranks):
        """Also as micro-batch and accumulation change, and from a position that the ranks do not divide."""
        shards = [[ListPart([bytes([s] * 5)])] for s in range(8)]
        sources = [StreamedSamples(make_stream(shards)) for _ in range(ranks)]
        start = 21
        for accumulation, micro_batch in [(1, 1), (3, 1), (2, 2), (1, 5), (4, 3)]:
            for rank, source in enumerate(sources):
                step_of(source, start, rank, ranks, accumulation, micro_batch)
            start += ranks * accumulation * micro_batch
        opened = [set(source._open) for source in sources]
        assert [len(each) for each in opened] == [8 // ranks] * ranks
        assert set().union(*opened) == set(range(8))

    def test_ranks_that_do_not_divide_the_shards_read_some_for_each_other(self):
        source = StreamedSamples(make_stream([[] for _ in range(8)]))
        assert [source.readers(range(9), ranks) for ranks in (1, 2, 4, 8)] == [None] * 4
        assert source.readers(range(6, 15), 3).tolist() == [0, 1, 0, 1, 2, 0, 1, 2, 0]  # of shards 6, 7, 0, ...

    def test_resuming_reads_no_more_than_the_buffer(self):
        """Not the 2000 documents before it."""
        shards = [[ListPart([bytes([i % 200] * 9) for i in range(2000)])] for _ in range(2)]
        stream = make_stream(shards, length=10, buffer=64)
        source = StreamedSamples(stream)
        source.take(range(3600))
        expected = source.take(range(3600, 3650)).tolist()
        before = StreamedSamples(stream)
        before.take(range(3600))
        reads = [part.reads for shard in shards for part in shard]
        for each in reads:
            each.clear()
        resumed = StreamedSamples(stream)
        resumed.load_state_dict([before.state_dict()], 3600)
        assert resumed.take(range(3600, 3650)).tolist() == expected
        assert all(min(each) > 1700 for each in reads)
        assert all(len(each) <= 2 * 32 + 2 * 16 for each in reads)  # two fillings, and whole batches of documents

    @pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 8, 12, 32])
    @pytest.mark.parametrize("files", [1, 2, 3, 5, 8, 12, 64, 100])
    def test_dealing_files(self, files, count):
        """Every document of every file to one shard, and equally many to each."""
        names = [f"file {i}" for i in range(files)]
        got = Counter()
        sizes = []
        for index in range(count):
            mine = deal(names, index, count)
            documents = [(f, n) for f, modulus, residue in mine for n in range(96) if n % modulus == residue]
            got.update(documents)
            sizes.append(len(documents))
        assert set(got.values()) == {1}
        assert len(got) == 96 * files
        if 96 % (count if files % count else 1) == 0:
            assert len(set(sizes)) == 1

    def test_files_of_one_document_reach_most_shards(self):
        names = [f"file {i}" for i in range(320)]
        first = [sum(residue == 0 for _, _, residue in deal(names, index, 32)) for index in range(32)]
        assert sum(first) == 320
        uneven = [f"file {i}" for i in range(150)]
        firsts = [sum(residue == 0 for _, _, residue in deal(uneven, index, 32)) for index in range(32)]
        assert sum(firsts) == 150
        assert sum(count > 0 for count in firsts) >= 28


DOCUMENTS = [f"document {i} äö " + "some words\n" * (i % 7) for i in range(300)]


def write_data(folder, kind: str, pieces: int) -> str:
    """The same documents as files of one kind."""
    folder.mkdir()
    chunks = [DOCUMENTS[i::pieces] for i in range(pieces)]
    text_column = datasets.Features({"text": datasets.Value("string"), "n": datasets.Value("int64")})
    for number, chunk in enumerate(chunks):
        lines = "".join(json.dumps({"text": text, "n": 1}) + "\n" for text in chunk)
        if kind == "text":
            (folder / f"{number}.txt").write_text("".join(chunk))
        elif kind == "json":
            (folder / f"{number}.jsonl").write_text(lines)
        elif kind == "gzip":
            (folder / f"{number}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
        elif kind == "parquet":
            rows = datasets.Dataset.from_dict({"text": chunk, "n": [1] * len(chunk)}, features=text_column)
            rows.to_parquet(str(folder / f"train-{number}.parquet"))
        elif kind == "like c4":  # as the dataset lies on the hub: a card that says which files are which split
            (folder / "en").mkdir(exist_ok=True)
            (folder / "en" / f"c4-train.{number:05}.json.gz").write_bytes(gzip.compress(lines.encode()))
            (folder / "README.md").write_text(
                "---\nconfigs:\n- config_name: en\n  data_files:\n  - split: train\n    path: en/c4-train.*\n---\n"
            )
    if kind == "saved":
        datasets.Dataset.from_dict({"text": DOCUMENTS}).save_to_disk(str(folder / "saved"))
        return str(folder / "saved")
    return str(folder)


KINDS = ["text", "json", "gzip", "parquet", "like c4", "saved"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "datasets cache"))
    datasets.disable_progress_bars()


class TestEveryKindOfData:
    def settings(self, tmp_path, kind, pieces=3, **changes) -> DataSettings:
        data = write_data(tmp_path / "data", kind, pieces)
        values = {"streaming": True, "sequence_length": 16, "validation_fraction": 0.05, "stream_shards": 4}
        config = "en" if kind == "like c4" else None
        return DataSettings(data, data_config=config, cache=str(tmp_path / "cache"), **{**values, **changes})

    @pytest.mark.parametrize("shards", [1, 3, 8])
    @pytest.mark.parametrize("kind", KINDS)
    def test_shards_share_nothing_and_leave_nothing_out(self, tmp_path, kind, shards):
        (source,) = open_sources(self.settings(tmp_path, kind))
        whole = [document.text for document in read_parts(source.parts(False))]
        by_shard = [[d.text for d in read_parts(source.shard(i, shards))] for i in range(shards)]
        if kind == "text":  # cut between lines: what comes out are the same lines
            whole, by_shard = b"".join(whole).split(b"\n"), [b"".join(each).split(b"\n") for each in by_shard]
            whole, by_shard = [w for w in whole if w], [[w for w in each if w] for each in by_shard]
        assert Counter(whole) == Counter(itertools.chain(*by_shard))
        sizes = [sum(map(len, each)) for each in by_shard]
        assert min(sizes) > 0.7 * max(sizes)
        validation = {document.text for document in read_parts(source.parts(True))}
        assert 0 < len(validation) < 60
        assert not validation & set(itertools.chain(*by_shard))

    @pytest.mark.parametrize("kind", KINDS)
    def test_reading_a_part_on_from_any_place(self, tmp_path, kind):
        (source,) = open_sources(self.settings(tmp_path, kind))
        for part in source.shard(1, 2):
            whole = list(part.read())
            for number in range(0, len(whole), 7):
                assert list(part.read(whole[number][1])) == whole[number + 1 :]

    @pytest.mark.parametrize("kind", KINDS)
    def test_four_ranks_then_two_then_one(self, tmp_path, kind):
        """Killed in the middle of epochs and buffers, and resumed with fewer ranks from what all had saved."""
        settings = self.settings(tmp_path, kind, shuffle_buffer=40)
        expected = open_corpus(settings).train.take(range(600)).tolist()
        start, states, taken = 0, [], {}
        for ranks, steps, accumulation, micro_batch in [(4, 13, 1, 3), (2, 21, 2, 2), (1, 20, 3, 4)]:
            sources = [open_corpus(settings).train for _ in range(ranks)]
            for source in sources:
                source.load_state_dict(states, start)
            for _ in range(steps):
                for rank, source in enumerate(sources):
                    taken |= step_of(source, start, rank, ranks, accumulation, micro_batch)
                start += ranks * accumulation * micro_batch
            states = json.loads(json.dumps([source.state_dict() for source in sources]))
        assert start > 500
        assert [taken[p] for p in range(start)] == expected[:start]

    def test_it_describes_itself(self, tmp_path):
        settings = self.settings(tmp_path, "text")
        described = open_corpus(settings).train.describe()
        assert described["streaming"]
        assert open_corpus(settings).train.length is None
        for change in ({"seed": 1}, {"stream_shards": 5}, {"shuffle_buffer": 1}, {"sequence_length": 17}):
            assert open_corpus(dataclasses.replace(settings, **change)).train.describe() != described

    @pytest.mark.parametrize("kind", ["text", "gzip", "parquet"])
    def test_the_validation_set_is_the_beginning_of_what_is_held_out(self, tmp_path, kind):
        settings = self.settings(tmp_path, kind, streaming_validation_tokens=70)
        corpus = open_corpus(settings)
        whole = open_corpus(dataclasses.replace(settings, streaming=False)).validation
        assert corpus.validation.length == 4 < whole.length
        assert corpus.validation._samples.tolist() == whole._samples[:4].tolist()
        assert (corpus.folder / "validation.tokens").stat().st_size == 2 * 70
        assert (corpus.folder / "train.tokens").stat().st_size == 0

    @pytest.mark.parametrize("kind", ["text", "json", "gzip", "parquet"])
    def test_more_shards_than_documents(self, tmp_path, kind, monkeypatch):
        monkeypatch.setattr("tests.adabatch.data.test_streaming.DOCUMENTS", ["one document\n", "and another\n"])
        settings = self.settings(tmp_path, kind, pieces=2, stream_shards=32, validation_fraction=0.0)
        taken = open_corpus(settings).train.take(range(64))
        text = bytes(int(token) for token in taken.reshape(-1) if token < 256)
        assert b"document" in text
        assert b"another" in text

    @pytest.mark.parametrize("kind", ["json", "gzip", "parquet", "like c4"])
    def test_files_without_documents(self, tmp_path, kind, monkeypatch):
        monkeypatch.setattr("tests.adabatch.data.test_streaming.DOCUMENTS", DOCUMENTS[:2])
        settings = self.settings(tmp_path, kind, pieces=4, validation_fraction=0.0)
        (source,) = open_sources(settings)
        whole = Counter(document.text.decode() for document in read_parts(source.parts(False)))
        shards = Counter(d.text.decode() for i in range(4) for d in read_parts(source.shard(i, 4)))
        assert whole == shards == Counter(DOCUMENTS)
        assert open_corpus(settings).train.take(range(20)).shape == (20, 16)

    def test_one_huge_line(self, tmp_path, monkeypatch):
        monkeypatch.setattr("adabatch.data.text_files.PIECE", 100)
        (tmp_path / "a.txt").write_bytes(b"x" * 5000)
        settings = DataSettings(
            str(tmp_path / "a.txt"),
            streaming=True,
            sequence_length=10,
            validation_fraction=0.0,
            cache=str(tmp_path / "cache"),
            stream_shards=4,
        )
        taken = open_corpus(settings).train.take(range(500))
        assert (taken == ord("x")).sum() + (taken == 256).sum() == 5000
        assert (taken == 256).sum() <= 1


def test_no_more_is_read_than_the_validation_set_needs(tmp_path, monkeypatch):
    """Documents of 5 bytes and 6 tokens, their ends included: 4 tokens of the second stand for 3 of its bytes."""
    monkeypatch.setattr("adabatch.data.tasks.DOCUMENTS_AT_ONCE", 1)
    part = ListPart([b"first", b"again", b"never"])
    with (tmp_path / "tokens").open("wb") as file:
        count = write_tokens(file, [part], ByteTokenizer(), limit=10)
    assert part.reads == [0, 1]
    assert (count.tokens, count.bytes) == (10, 8)
