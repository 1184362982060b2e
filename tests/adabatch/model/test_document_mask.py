"""Document masks: no gradient across documents, to the bit; positions begin again; the same loss everywhere."""

import json

import pytest
import torch
from torch.nn.functional import cross_entropy

from adabatch.distributed.parallel import DistributedContext
from adabatch.evaluation.subject import Subject
from adabatch.evaluation.text_loss import text_losses
from adabatch.model.document_mask import check_document_mask, document_positions, mask_documents
from adabatch.model.language_model import (
    PLAIN,
    UNMASKED,
    build_model,
    language_model_loss,
    model_config,
    sequence_losses,
)
from adabatch.settings import load_settings
from adabatch.training.loop import train
from adabatch.training.opening import open_run
from adabatch.training.validation import validation_loss

END = 0
TOKENS = torch.tensor([[5, 6, 7, END, 8, 9, 10, 11, END, 12], [3, END, END, 4, 5, 6, 7, 8, 9, END]])
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 16}
LLAMA_LIKE = {"intermediate_size": 24, "num_key_value_heads": 1, "head_dim": 8}
WINDOW = {"sliding_window": 3, "use_sliding_window": True, "max_window_layers": 1}


def config_of(folder, family, attention=None, **changes):
    values = {
        "model_type": family,
        "vocab_size": 16,
        **SIZES,
        **({} if family == "gpt2" else LLAMA_LIKE),
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(values))
    config = model_config(str(folder))
    if attention is not None:
        config._attn_implementation = attention
    return config


def gradients(model, chosen):
    """Of the losses of these documents, each by itself, with respect to every token's embedding."""
    embedded = []
    hook = model.get_input_embeddings().register_forward_hook(lambda _, __, output: embedded.append(output))
    logits = model(TOKENS).logits
    hook.remove()
    for row, begin, end in chosen:
        targets = TOKENS[row, begin + 1 : end + 1]
        loss = cross_entropy(logits[row, begin : begin + len(targets)], targets)
        yield torch.autograd.grad(loss, embedded[0], retain_graph=True)[0]


def test_positions_begin_again_with_the_token_at_a_documents_end():
    expected = [[0, 1, 2, 0, 1, 2, 3, 4, 0, 1], [0, 0, 0, 1, 2, 3, 4, 5, 6, 0]]
    assert document_positions(TOKENS, END).tolist() == expected


@pytest.mark.parametrize(
    ("family", "changes", "attention"),
    [
        *((family, {}, None) for family in sorted(PLAIN)),
        *((family, {}, "eager") for family in ("llama", "gpt2", "gemma", "qwen3")),
        *((family, WINDOW, attention) for family in ("mistral", "qwen3") for attention in (None, "eager")),
    ],
)
def test_no_gradient_reaches_another_document(tmp_path, family, changes, attention):
    plain, masked = (build_model(config_of(tmp_path, family, attention, **changes), 0).eval() for _ in range(2))
    assert (attention, plain.config._attn_implementation) in ((None, UNMASKED), (None, "sdpa"), ("eager", "eager"))
    mask_documents(masked, END)
    chosen = [(0, 3, 8), (0, 8, 10), (1, 2, 9)]
    for (row, begin, end), gradient in zip(chosen, gradients(masked, chosen), strict=True):
        others = [place for place in range(TOKENS.shape[1]) if not begin <= place < end]
        assert gradient[row, others].count_nonzero() == 0
        assert gradient[1 - row].count_nonzero() == 0
        assert gradient[row, begin].count_nonzero() > 0
    (across,) = gradients(plain, [(0, 3, 8)])  # without the mask it does
    assert across[0, :3].count_nonzero() > 0
    logits = masked(TOKENS).logits
    for row, begin, end in chosen:
        alone = plain(TOKENS[row : row + 1, begin:end]).logits
        torch.testing.assert_close(logits[row : row + 1, begin:end], alone, rtol=1e-4, atol=1e-5)


def test_without_documents_ends_nothing_changes(tmp_path):
    plain, masked = (build_model(config_of(tmp_path, "llama"), 0) for _ in range(2))
    mask_documents(masked, end=15)
    torch.testing.assert_close(language_model_loss(masked, TOKENS), language_model_loss(plain, TOKENS))
    assert plain.config._attn_implementation == UNMASKED
    assert not plain._forward_pre_hooks


def test_models_that_mix_documents_are_refused_by_name(tmp_path, monkeypatch):
    check_document_mask(config_of(tmp_path, "gemma2"))
    sizes = {"model_type": "mpt", "vocab_size": 16, "d_model": 16, "n_heads": 2, "n_layers": 2, "max_seq_len": 16}
    (tmp_path / "config.json").write_text(json.dumps(sizes))
    with pytest.raises(
        ValueError,
        match=r"^a model of type mpt cannot keep documents apart \(it attends across their ends\): leave out "
        "--document-mask, or take another --model$",
    ):
        check_document_mask(model_config(str(tmp_path)))
    positions = "adabatch.model.document_mask.document_positions"
    for family, shifts, reason in (
        ("gemma2", (0, 0), "attends across"),
        ("gpt_bigcode", (4, 0), "not begin again"),
    ):
        places = {
            length: torch.arange(length) + shift * (torch.arange(length) > 2)
            for length, shift in zip((7, 4), shifts, strict=True)
        }
        monkeypatch.setattr(positions, lambda tokens, end, places=places: places[tokens.shape[1]][None])
        with pytest.raises(ValueError, match=f"type {family} cannot keep documents apart .*{reason}"):
            check_document_mask(config_of(tmp_path, family))


def loss_by_hand(model, tokens, end):
    """Mean over all predicted tokens of a sequence, each document through the unmasked model by itself."""
    total = 0.0
    starts = sorted({0, *(tokens == end).nonzero().flatten().tolist()})
    for begin, stop in zip(starts, [*starts[1:], len(tokens)], strict=True):
        targets = tokens[begin + 1 : stop + 1]
        if len(targets):
            logits = model(tokens[None, begin:stop]).logits[0, : len(targets)]
            total += float(cross_entropy(logits, targets, reduction="sum"))
    return total / (len(tokens) - 1)


@torch.no_grad()
def test_training_validation_and_evaluation_compute_the_same_loss(tmp_path):
    lines = [{"text": f"{i} is followed by {i + 1}"} for i in range(400)]
    (tmp_path / "a.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    given = {"data": [str(tmp_path / "a.jsonl")], "model": "nano", "sequence_length": 48, "document_mask": True}
    given |= {"cache": str(tmp_path / "cache"), "output": str(tmp_path / "run"), "validation_samples": 4}
    given |= {"samples": 8, "initial_batch": 4, "micro_batch": 2, "schedule": "constant", "warmup_samples": 4}
    settings = load_settings(overrides=given | {"validation_fraction": 0.2})
    run, ranks = open_run(settings, DistributedContext()), DistributedContext()
    end = run.corpus.tokenizer.end_of_document
    plain = build_model(model_config("nano", run.corpus.vocabulary_size), settings.data.seed)
    batch, held_out = run.corpus.train.take(range(4)), run.corpus.validation.take(range(4))
    assert ((batch == end).sum(dim=1) >= 1).all()

    def by_hand(rows):
        return [loss_by_hand(plain, row, end) for row in rows]

    measured = validation_loss(run.model, run.corpus.validation, settings, ranks, at_once=4)
    assert measured == pytest.approx(sum(by_hand(held_out)) / 4, rel=1e-5)
    unmasked = float(sequence_losses(plain, held_out).mean())
    assert abs(measured - unmasked) > 1e-5 * unmasked  # what it would be across documents
    subject = Subject(tmp_path, 1, build_model(plain.config, settings.data.seed).eval(), settings, own_data=True)
    (evaluated,) = text_losses(subject, sequences=0).values()
    every = run.corpus.validation.take(range(run.corpus.validation.length))
    assert sorted(evaluated.losses) == pytest.approx(sorted(by_hand(every)), rel=1e-5)
    with torch.enable_grad():
        first = next(iter(train(run)))
    assert first["loss"] == pytest.approx(sum(by_hand(batch)) / 4, rel=1e-5)
