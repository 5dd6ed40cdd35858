"""Softmax cross-entropy against the reference implementation's numbers and by hand."""

import json
import math
from pathlib import Path

import pytest
import torch

from trainer.classification_losses import SoftmaxCrossEntropy


def test_equal_to_the_reference(shared_oracles: Path) -> None:
    oracle = json.loads((shared_oracles / "05_losses.json").read_text())
    labels = torch.tensor(oracle["labels"])
    # The interface computes in float32, as training under autocast does.
    logits = torch.tensor(oracle["ce"]["logits"], requires_grad=True)
    loss = SoftmaxCrossEntropy()
    torch.testing.assert_close(
        loss.per_sample(logits, labels), torch.tensor(oracle["ce"]["per_sample"]), rtol=1e-4, atol=0
    )
    total = loss(logits, labels)
    assert float(total.detach()) == pytest.approx(oracle["ce"]["loss"], rel=1e-5)
    total.backward()
    torch.testing.assert_close(
        logits.grad, torch.tensor(oracle["ce"]["grad"]), rtol=1e-4, atol=1e-6
    )


def test_ignored_rows_do_not_count() -> None:
    logits = torch.tensor([[0.0, 0.0], [5.0, -5.0]])
    assert float(SoftmaxCrossEntropy()(logits, torch.tensor([0, -1]))) == pytest.approx(math.log(2))
    assert float(SoftmaxCrossEntropy()(logits, torch.tensor([-1, -1]), virtual=True)) == 0


def test_scores_put_background_first() -> None:
    scores = SoftmaxCrossEntropy().scores(torch.tensor([[0.0, 0.0, math.log(2)]]))
    assert scores.tolist() == [pytest.approx([0.5, 0.25, 0.25])]


def test_the_predictor_has_a_logit_for_background() -> None:
    predictor = SoftmaxCrossEntropy().make_predictor(16, 5)
    assert predictor(torch.zeros(2, 16)).tolist() == [[0.0] * 6] * 2
