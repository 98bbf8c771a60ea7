"""What quantisation costs in quality: the mean loss a token on a fixed text."""

from __future__ import annotations

from pathlib import Path

import torch

from la_agents.engine.runner import Runner
from la_agents.models import LoadedModel

TEXTS = (Path(__file__).with_name("document.txt"), Path(__file__).parents[1] / "LICENSE")
WINDOW = 512
MIN_TOKENS = 2000


def token_loss(loaded: LoadedModel) -> float:
    """Mean negative log-likelihood in nats over the texts, in windows of 512 tokens, each seen from its start."""
    ids = [i for text in TEXTS for i in loaded.tokenizer.encode(text.read_text(), add_special_tokens=False)]
    assert len(ids) >= MIN_TOKENS, f"Expected at least {MIN_TOKENS} tokens, got {len(ids)}."
    runner = Runner(loaded)
    total, count = 0.0, 0
    with torch.inference_mode():
        for start in range(0, len(ids) - 1, WINDOW):
            window = ids[start : start + WINDOW]
            logits = runner.score(window)
            targets = torch.tensor(window[1:])
            total += float(torch.nn.functional.cross_entropy(logits[:-1], targets, reduction="sum"))
            count += len(targets)
    return total / count
