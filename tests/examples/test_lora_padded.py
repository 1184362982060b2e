"""The fine-tuning example: only the added matrices train, tokens are counted, the batch grows in samples."""

import torch

from tests.support.repository import script

lora_padded = script("examples/lora_padded.py")


def test_trains_what_was_added_on_texts_of_unequal_length():
    trainer = lora_padded.main(["--samples", "320"])
    trainable = {name.rsplit(".", 1)[1] for name, p in trainer.model.named_parameters() if p.requires_grad}
    assert trainable == {"down", "up"}
    records = [record for record in trainer.state.log_history if "batch_tokens" in record]
    assert records[-1]["batch_size"] > 16
    assert all(record["batch_tokens"] != 24 * record["batch_size"] for record in records)
    (callback,) = (each for each in trainer.callback_handler.callbacks if hasattr(each, "history"))
    assert callback.history[-1]["samples"] == 320
    assert callback.history[-1]["noise_scale"] > 0


def test_measuring_alone_keeps_the_batch():
    trainer = lora_padded.main(["--samples", "96", "--measure-only"])
    (callback,) = (each for each in trainer.callback_handler.callbacks if hasattr(each, "history"))
    assert [record["batch_size"] for record in callback.history] == [16] * 6
    total = sum(len(row["labels"]) - 1 for row in lora_padded.texts_of_unequal_length(96))
    assert sum(record["batch_tokens"] for record in callback.history) == total


def test_lora_begins_as_the_model_it_is_added_to():
    torch.manual_seed(0)
    linear = torch.nn.Linear(6, 5)
    x = torch.randn(3, 6)
    assert torch.equal(lora_padded.LowRank(linear, 2)(x), linear(x))
