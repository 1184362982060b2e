"""Hugging Face datasets, from local folders."""

import itertools
import json

import pytest

from adabatch.data.corpus import open_corpus
from adabatch.data.documents import held_out
from adabatch.data.progress import summary_of
from adabatch.settings import DataSettings

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
        held = [held_out(f"train:0:{i}", 0.05) for i in range(len(TEXTS))]
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
        corpus = open_corpus(options(tmp_path, folder, streaming=streaming, stream_shards=1))
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
            (
                {"text_field": "text"},
                "no column 'text'; its columns are content, number: name the one with",
            ),
            ({"text_field": "number"}, "row 0: the column 'number' holds int, not text"),
            ({"split": "test"}, "no split 'test'; its splits are train"),
            (
                {"data_config": "en"},
                "with configuration 'en' is not a file or folder here, and could not be",
            ),
        ],
    )
    def test_mistakes(self, tmp_path, changes, message):
        with pytest.raises(ValueError, match=message):
            open_corpus(options(tmp_path, parquet(tmp_path / "data", train=TEXTS), **changes))

    @pytest.mark.parametrize("streaming", [False, True])
    def test_nulls_are_left_out_and_counted(self, tmp_path, streaming):
        folder = parquet(tmp_path / "data", train=["first", None, "", "second", None], validation=["third", None])
        chosen = options(tmp_path, folder, sequence_length=6, streaming=streaming, stream_shards=1)
        corpus = open_corpus(chosen)
        taken = corpus.train.take(range(2)).tolist()
        assert sorted(taken) == sorted(cut(["first", "second"], 6))
        counted = json.loads((corpus.folder / "corpus.json").read_text())["missing_texts"]
        assert counted == (1 if streaming else 3)  # a stream counts those of the validation set
        assert f", {counted} nulls left out" in summary_of(corpus.folder)
