"""Document masks: no gradient across documents, to the bit; positions begin again; the same loss everywhere."""

import json

import pytest
import torch
from torch.nn.functional import cross_entropy

from adabatch.distributed.parallel import DistributedContext
from adabatch.evaluation.subject import Subject
from adabatch.evaluation.text_loss import text_loss
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
BEGINNINGS = ((0, 3, 8), (0, 1, 2, 9))
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


def documents(row):
    """Where each document of a row begins and ends."""
    starts = BEGINNINGS[row]
    return list(zip(starts, (*starts[1:], TOKENS.shape[1]), strict=True))


def gradients(model):
    """Of each document's own loss with respect to every token's embedding, by row and document."""
    embedded = []
    hook = model.get_input_embeddings().register_forward_hook(lambda _, __, output: embedded.append(output))
    logits = model(TOKENS).logits
    hook.remove()
    found = {}
    for row in range(len(TOKENS)):
        for begin, end in documents(row):
            if (targets := TOKENS[row, begin + 1 : end + 1]).numel():
                loss = cross_entropy(logits[row, begin : begin + len(targets)], targets)
                found[row, begin, end] = torch.autograd.grad(loss, embedded[0], retain_graph=True)[0]
    return found


def test_positions_begin_again_with_the_token_at_a_documents_end():
    expected = [[0, 1, 2, 0, 1, 2, 3, 4, 0, 1], [0, 0, 0, 1, 2, 3, 4, 5, 6, 0]]
    assert document_positions(TOKENS, END).tolist() == expected


@pytest.mark.parametrize("attention", [None, "eager"])
@pytest.mark.parametrize(
    ("family", "changes"),
    [*((family, {}) for family in sorted(PLAIN)), ("mistral", WINDOW), ("qwen3", WINDOW), ("gpt_neox", {})],
)
def test_no_gradient_reaches_another_document(tmp_path, family, changes, attention):
    plain, masked = (build_model(config_of(tmp_path, family, attention, **changes), 0).eval() for _ in range(2))
    assert (attention, plain.config._attn_implementation) in ((None, UNMASKED), (None, "sdpa"), ("eager", "eager"))
    mask_documents(masked, END)
    across = 0.0
    for (row, begin, end), gradient in gradients(masked).items():
        others = [p for p in range(TOKENS.shape[1]) if not begin <= p < end]
        assert gradient[row, others].count_nonzero() == 0
        assert gradient[1 - row].count_nonzero() == 0
        assert gradient[row, begin].count_nonzero() > 0
    for (row, begin, _), gradient in gradients(plain).items():  # without the mask they do
        across += float(gradient[row, :begin].abs().sum())
    assert across > 0
    logits = masked(TOKENS).logits
    for row in range(len(TOKENS)):
        for begin, end in documents(row):
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
    monkeypatch.setattr("adabatch.model.document_mask.document_positions", lambda tokens, end: tokens)
    with pytest.raises(ValueError, match=r"type gemma2 cannot keep documents apart \(its positions do not begin"):
        check_document_mask(config_of(tmp_path, "gemma2"))


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

    measured = validation_loss(run.model, run.corpus, settings, ranks)
    assert measured == pytest.approx(sum(by_hand(held_out)) / 4, rel=1e-5)
    unmasked = float(sequence_losses(plain, held_out).mean())
    assert abs(measured - unmasked) > 1e-5 * unmasked  # what it would be across documents
    subject = Subject(tmp_path, 1, build_model(plain.config, settings.data.seed).eval(), settings, own_data=True)
    evaluated = text_loss(subject, sequences=0)
    every = run.corpus.validation.take(range(run.corpus.validation.length))
    assert sorted(evaluated.losses) == pytest.approx(sorted(by_hand(every)), rel=1e-5)
    with torch.enable_grad():
        first = next(iter(train(run)))
    assert first["loss"] == pytest.approx(sum(by_hand(batch)) / 4, rel=1e-5)
