"""The default threshold does on real questions what its description says."""

from __future__ import annotations

import json
import random

import numpy as np

from la_agents.preferences.embeddings import BundledEmbeddings
from la_agents.preferences.store import DEFAULT_MIN_RELEVANCE
from tests.data_folder import data_folder


def test_the_default_threshold_lets_own_preferences_through_and_few_others() -> None:
    topics = [json.loads(path.read_text()) for path in sorted(data_folder("prefeval").glob("*.json"))]
    items = [(topic, item) for topic, items in enumerate(topics) for item in items[:20]]
    embeddings = BundledEmbeddings()
    questions = np.array(embeddings.embed_documents([item["question"] for _, item in items]))
    preferences = np.array(embeddings.embed_documents([item["preference"] for _, item in items]))
    cosines = questions @ preferences.T
    chosen = random.Random(0)
    own, foreign = [], []
    for index, (topic, _) in enumerate(items):
        others = [other for other, (its, _) in enumerate(items) if its != topic]
        own.append(cosines[index, index] >= DEFAULT_MIN_RELEVANCE)
        foreign.append(np.sum(cosines[index, chosen.sample(others, 9)] >= DEFAULT_MIN_RELEVANCE))
    assert np.mean(own) > 0.70
    assert np.mean(foreign) < 0.60
