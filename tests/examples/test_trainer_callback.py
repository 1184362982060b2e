"""The Trainer example: the batch grows, the loss falls, and the Trainer's log has the records."""

import torch

from tests.support.repository import script

trainer_callback = script("examples/trainer_callback.py")


def test_the_batch_grows_and_the_loss_falls(tmp_path):
    torch.manual_seed(0)
    dataset = trainer_callback.counting_texts(400)
    trainer = trainer_callback.train(trainer_callback.small_llama(), dataset, str(tmp_path), logging_steps=1)
    log = [record for record in trainer.state.log_history if "loss" in record]
    sizes = [record["batch_size"] for record in log]
    assert sizes[0] == 16
    assert max(sizes) > 16
    assert log[-1]["samples"] == sum(sizes) == 3 * 400
    assert log[-1]["loss"] < 0.9 * log[0]["loss"]
    assert all("noise_scale" in record for record in log)
