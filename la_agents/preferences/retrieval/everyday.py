"""Everyday questions and preferences: what all of them have in common says nothing about any one of them.

Sentence embeddings of questions resemble each other for being questions, and preferences for being preferences. Taking
away what is common, the mean of each kind and the direction in which all vary most, leaves what they are about: "all
but the top" (Mu & Viswanath, ICLR 2018, arXiv 1702.01417), here with a mean for each of the two kinds. The texts are of
many kinds on purpose and were written for this; none is of any data that the ranking is measured on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from la_agents.preferences.embedding.vectors import unit
from la_agents.preferences.record import Vector

__all__ = ["PREFERENCES", "QUESTIONS", "Common"]


@dataclass(frozen=True, slots=True)
class Common:
    """What embeddings have in common, for one embedding model.

    Attributes:
        question: Mean embedding of everyday questions, each of length 1; [dimension].
        preference: Mean embedding of everyday preferences, likewise.
        direction: The direction, of length 1, in which both vary most about their means.
    """

    question: Vector
    preference: Vector
    direction: Vector

    @classmethod
    def learnt(cls, embed: Callable[[Sequence[str]], Vector]) -> Common:
        """Learn it from the embeddings of `QUESTIONS` and `PREFERENCES`."""
        vectors = unit(embed([*QUESTIONS, *PREFERENCES]))
        questions, preferences = vectors[: len(QUESTIONS)], vectors[len(QUESTIONS) :]
        means = questions.mean(axis=0), preferences.mean(axis=0)
        centred = np.concatenate([questions - means[0], preferences - means[1]])
        direction = np.linalg.svd(centred, full_matrices=False)[2][0]
        return cls(*means, np.asarray(direction, dtype=np.float32))

    def closeness(self, questions: Vector, preferences: Vector) -> Vector:
        """Cosines of questions, [..., dimension], and preferences, [n, dimension], without what is common: [..., n]."""
        about = self._rest(unit(questions) - self.question) @ self._rest(unit(preferences) - self.preference).T
        return np.asarray(np.clip(about, -1.0, 1.0), dtype=np.float32)

    def _rest(self, vectors: Vector) -> Vector:
        return unit(vectors - (vectors @ self.direction)[..., None] * self.direction)


QUESTIONS = (
    "What should I cook tonight?",
    "Can you recommend a good book?",
    "Where should I go on holiday?",
    "How do I fix a leaking tap?",
    "Which laptop should I buy?",
    "What is the capital of Peru?",
    "Write an email to my boss.",
    "Explain photosynthesis.",
    "What should I wear to a wedding?",
    "How can I sleep better?",
    "Suggest a film for tonight.",
    "Plan a weekend in Rome.",
    "How do I learn Python?",
    "What is a good gift for my mother?",
    "Which restaurant should I try?",
    "Help me with my tax return.",
    "How do I train for a marathon?",
    "What are the best games this year?",
    "How do I style a small living room?",
    "Summarise this article.",
    "Which phone has the best camera?",
    "How do I get rid of acne?",
    "What does inflation mean?",
    "Can you suggest a playlist?",
    "Which university should I apply to?",
    "How do I negotiate a salary?",
    "What can I do with my kids on Sunday?",
    "How do I write a cover letter?",
    "Translate this sentence.",
    "What should I plant in spring?",
    "How do I choose a mortgage?",
    "Recommend some podcasts.",
    "What is a healthy breakfast?",
    "Which car should I rent?",
    "How should I prepare for an interview?",
    "Tell me a story.",
    "What is quantum computing?",
    "Where can I buy cheap furniture?",
    "How do I clean a carpet?",
    "What time zone is Tokyo in?",
    "What are some good places to eat near the station?",
    "Can you recommend a hotel in Vienna?",
    "I'm looking for new shoes; any suggestions?",
    "What should I watch with my family?",
    "Which programming course would you recommend?",
    "How can I make friends in a new city?",
    "What skin care routine would you suggest?",
    "Which headphones are worth the money?",
    "What are popular dishes in Thailand?",
    "Can you suggest a board game for four people?",
    "Where should I look for a flat?",
    "What is the best way to learn Spanish?",
    "Which series should I start next?",
    "Can you help me plan a birthday party?",
    "What is a good workout for beginners?",
    "Which bank account should I open?",
    "How do I get from the airport to the city?",
    "What should I read this summer?",
    "Which credit card is good for travel?",
    "What gadgets make a kitchen easier?",
    "Can you suggest a name for my cat?",
    "What should I plant on a balcony?",
    "Which museum should I visit in London?",
    "How do I remove a stain?",
    "What jobs are there for biologists?",
    "What should I bring to a dinner party?",
    "Which vitamins should I take?",
    "How do I start a podcast?",
    "What is a good laptop for students?",
    "Can you write a poem for my friend?",
)

PREFERENCES = (
    "I prefer tea to coffee.",
    "I am vegetarian.",
    "I like short answers.",
    "I avoid crowded places.",
    "I dislike horror films.",
    "I love jazz.",
    "I prefer to travel by train.",
    "I only buy second-hand clothes.",
    "I have a nut allergy.",
    "I like learning with videos.",
    "I prefer working from home.",
    "I enjoy strategy games.",
    "I do not like sweet perfume.",
    "I read crime novels.",
    "I want privacy-friendly software.",
    "I run every morning.",
    "I avoid fast fashion.",
    "I like small hotels.",
    "I prefer phones with good cameras.",
    "I cannot eat gluten.",
    "I like gardening.",
    "I prefer cash to cards.",
    "I dislike phone calls.",
    "I save for retirement.",
    "I love dogs.",
    "I prefer e-books.",
    "I avoid alcohol.",
    "I like modern art.",
    "I prefer natural cosmetics.",
    "I want to live near the sea.",
    "I hate long meetings.",
    "I prefer documentaries.",
    "I do not drive.",
    "I like spicy food.",
    "I keep kosher.",
    "I prefer open-source tools.",
    "I dislike loud restaurants.",
    "I like team sports.",
    "I cannot stand the cold.",
    "I prefer metric units.",
    "I only watch films with subtitles.",
    "I like to cook for friends.",
    "I avoid plastic.",
    "I am afraid of flying.",
    "I prefer evening classes.",
    "I like minimalist furniture.",
    "I don't want notifications.",
    "I prefer board games without luck.",
    "I love classical music.",
    "I have sensitive skin.",
    "I prefer to pay monthly.",
    "I want a quiet neighbourhood.",
    "I do not use social media.",
    "I like walking tours.",
    "I prefer strong coffee.",
    "I need wheelchair access.",
    "I avoid caffeine in the afternoon.",
    "I like bright colours.",
    "I do not like to be rushed.",
    "I prefer local shops to chains.",
)
