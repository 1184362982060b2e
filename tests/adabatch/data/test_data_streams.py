"""Streams and Hugging Face datasets, from local folders."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.data import DataSettings, StreamedSamples, group_positions, open_corpus
from adabatch.data.documents import held_out
from adabatch.data.preparation import _write_tokens

datasets = pytest.importorskip("datasets")

TEXTS = [f"row {i}: " + "some text " * (i % 6) for i in range(400)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "datasets cache"))
    datasets.disable_progress_bars()


def cut(texts: list[str], length: int) -> list[list[int]]:
    stream = list(itertools.chain.from_iterable([*text.encode(), 256] for text in texts))
    return [stream[i : i + length] for i in range(0, len(stream) - length + 1, length)]


def parquet(folder, **splits):
    folder.mkdir(exist_ok=True)
    for split, texts in splits.items():
        rows = {"content": texts, "number": list(range(len(texts)))}
        datasets.Dataset.from_dict(rows).to_parquet(str(folder / f"{split}.parquet"))
    return folder


def options(tmp_path, folder, **changes):
    values = {"text_field": "content", "sequence_length": 16, "cache": str(tmp_path / "cache")}
    return DataSettings(str(folder), **{**values, **changes})


class TestDatasets:
    @pytest.mark.parametrize("saved", [False, True])
    def test_rows_are_held_out_where_there_is_no_validation_split(self, tmp_path, saved):
        folder = parquet(tmp_path / "data", train=TEXTS)
        if saved:
            datasets.Dataset.from_dict({"content": TEXTS}).save_to_disk(str(tmp_path / "saved"))
            folder = tmp_path / "saved"
        corpus = open_corpus(options(tmp_path, folder))
        held = [held_out(f"train:{i}", 0.05) for i in range(len(TEXTS))]
        train = [text for text, h in zip(TEXTS, held, strict=True) if not h]
        assert corpus.train._samples.tolist() == cut(train, 16)
        assert corpus.validation._samples.tolist() == cut([t for t in TEXTS if t not in train], 16)

    @pytest.mark.parametrize("saved", [False, True])
    @pytest.mark.parametrize("streaming", [False, True])
    def test_its_own_validation_split_is_used(self, tmp_path, saved, streaming):
        folder = parquet(tmp_path / "data", train=TEXTS[:300], validation=TEXTS[300:])
        if saved:
            splits = {"train": TEXTS[:300], "validation": TEXTS[300:]}
            rows = {split: datasets.Dataset.from_dict({"content": texts}) for split, texts in splits.items()}
            datasets.DatasetDict(rows).save_to_disk(str(tmp_path / "saved"))
            folder = tmp_path / "saved"
        corpus = open_corpus(options(tmp_path, folder, streaming=streaming))
        expected = cut(TEXTS[:300], 16)
        positions = range(len(expected))
        assert sorted(corpus.train.take(positions).tolist()) == sorted(expected)
        assert corpus.validation._samples.tolist() == cut(TEXTS[300:], 16)

    def test_a_single_parquet_file_as_validation_data(self, tmp_path):
        train = parquet(tmp_path / "a", train=TEXTS[:100], validation=TEXTS[100:150])
        other = parquet(tmp_path / "b", train=TEXTS[300:])
        corpus = open_corpus(options(tmp_path, train, validation_data=str(other / "train.parquet")))
        assert corpus.train._samples.tolist() == cut(TEXTS[:100], 16)
        assert corpus.validation._samples.tolist() == cut(TEXTS[300:], 16)

    def test_another_split(self, tmp_path):
        folder = parquet(tmp_path / "data", train=TEXTS[:200], test=TEXTS[200:])
        corpus = open_corpus(options(tmp_path, folder, split="test", validation_fraction=0.0))
        assert corpus.train._samples.tolist() == cut(TEXTS[200:], 16)
        assert corpus.validation is None

    def test_changed_files_give_another_corpus(self, tmp_path):
        folder = parquet(tmp_path / "data", train=TEXTS)
        first = open_corpus(options(tmp_path, folder)).folder
        assert open_corpus(options(tmp_path, folder)).folder == first
        parquet(folder, train=[*TEXTS[:-1], "changed"])
        changed = open_corpus(options(tmp_path, folder))
        assert changed.folder != first
        file = str(folder / "train.parquet")
        single = open_corpus(options(tmp_path, file)).folder
        parquet(folder, train=[*TEXTS[:-1], "Changed"])
        assert open_corpus(options(tmp_path, file)).folder != single

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"text_field": "text"}, "no column 'text'; its columns are content, number: set text_field"),
            ({"text_field": "number"}, "row 0: the column 'number' holds int, not text"),
            ({"split": "test"}, "no split 'test'; its splits are train"),
            ({"data_config": "en"}, "with configuration 'en' is no file or folder here, and could not be loaded"),
        ],
    )
    def test_mistakes(self, tmp_path, changes, message):
        with pytest.raises(ValueError, match=message):
            open_corpus(options(tmp_path, parquet(tmp_path / "data", train=TEXTS), **changes))

    def test_a_row_without_text(self, tmp_path):
        folder = parquet(tmp_path / "data", train=["a", None, "b"])
        with pytest.raises(ValueError, match="row 1: the column 'content' holds NoneType"):
            open_corpus(options(tmp_path, folder))


class TestStreams:
    def source(self, length=3):
        blocks = [np.arange(5), np.arange(0), np.arange(5, 12)]
        return StreamedSamples(lambda: iter(blocks), length)

    @settings(deadline=None)
    @given(steps=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), max_size=6), length=st.integers(2, 9))
    def test_any_positions_forwards(self, steps, length):
        """Against an endless list, for any positions left out and any number taken at once."""
        stream = list(range(12)) * 40
        source, position = self.source(length), 0
        for gap, count in steps:
            wanted = range(position + gap, position + gap + count)
            assert source.take(wanted).tolist() == [stream[p * length : (p + 1) * length] for p in wanted]
            position = wanted.stop if count else position

    def test_never_backwards(self):
        source = self.source()
        source.take([0, 2])
        for position in (0, 1, 2):
            with pytest.raises(ValueError, match=f"position {position} was asked of a stream that is at 3"):
                source.take([position])
        assert source.take([4, 3]).tolist() == self.source().take([3, 4]).tolist()[::-1]

    def test_an_empty_stream(self):
        with pytest.raises(ValueError, match="the stream holds no text"):
            StreamedSamples(lambda: iter([]), 4).take([0])

    @pytest.mark.parametrize(("world_size", "accumulation"), [(1, 4), (2, 2), (4, 1)])
    def test_ranks_take_the_samples_of_one_stream(self, tmp_path, world_size, accumulation):
        folder = parquet(tmp_path / "data", train=TEXTS)
        settings = options(tmp_path, folder, streaming=True, validation_fraction=0.0)
        expected = open_corpus(settings).train.take(range(36)).tolist()
        taken = {}
        for rank in range(world_size):
            mine = open_corpus(settings).train
            for step in range(3):
                where = [
                    position
                    for index in range(accumulation)
                    for position in group_positions(
                        12 * step,
                        rank=rank,
                        world_size=world_size,
                        micro_batch_index=index,
                        accumulation=accumulation,
                        micro_batch=3,
                    )
                ]
                taken |= dict(zip(where, mine.take(where).tolist(), strict=True))
        assert [taken[p] for p in range(36)] == expected

    def test_resuming_is_taking_the_next_position(self, tmp_path):
        folder = parquet(tmp_path / "data", train=TEXTS)
        settings = options(tmp_path, folder, streaming=True)
        whole = open_corpus(settings).train.take(range(30))
        resumed = open_corpus(settings).train
        resumed.skip(17)
        assert torch.equal(resumed.take(range(17, 30)), whole[17:])
        assert torch.equal(open_corpus(settings).train.take(range(17, 30)), whole[17:])

    def test_every_kind_of_data_can_be_streamed(self, tmp_path):
        prepared = open_corpus(DataSettings(sequence_length=64, cache=str(tmp_path)))
        streamed = open_corpus(DataSettings(sequence_length=64, cache=str(tmp_path), streaming=True))
        assert streamed.train.take(range(500)).tolist() == prepared.train._samples[:500].tolist()
        assert streamed.train.length is None
        assert streamed.train.describe()["streaming"]

    def test_the_validation_set_is_the_beginning_of_what_is_held_out(self, tmp_path):
        folder = parquet(tmp_path / "data", train=TEXTS)
        whole = open_corpus(options(tmp_path, folder)).validation
        corpus = open_corpus(options(tmp_path, folder, streaming=True, streaming_validation_tokens=70))
        assert corpus.validation.length == 4 < whole.length
        assert corpus.validation._samples.tolist() == whole._samples[:4].tolist()
        assert (corpus.folder / "validation.tokens").stat().st_size == 2 * 70
        assert (corpus.folder / "train.tokens").stat().st_size == 0

    def test_no_more_is_read_than_the_validation_set_needs(self, tmp_path):
        def blocks():
            yield np.arange(6)
            yield np.arange(6)
            pytest.fail("read on after the limit")

        with (tmp_path / "tokens").open("wb") as file:
            assert _write_tokens(file, blocks(), "<u2", limit=12)["tokens"] == 12

    def test_what_is_held_out_is_not_streamed(self, tmp_path):
        folder = parquet(tmp_path / "data", train=TEXTS)
        train = [text for i, text in enumerate(TEXTS) if not held_out(f"train:{i}", 0.05)]
        expected = cut(train, 16)
        assert (
            open_corpus(options(tmp_path, folder, streaming=True)).train.take(range(len(expected))).tolist()
            == expected
        )
