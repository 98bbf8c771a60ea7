"""The demo's two users: enough to see what every part of the page is for."""

from __future__ import annotations

from la_agents import PreferenceStore

__all__ = ["fill"]


def fill(store: PreferenceStore) -> tuple[str, ...]:
    """Store what the two like, and return who they are."""
    store.add("ada", "Use simple words for a small child.", scope="always")
    store.add("ada", "I am allergic to peanuts.")
    store.add("ada", "I prefer short answers.", weight=1.5)
    store.add("ada", "I like coffee in the morning.")
    said = {"evidence": "On Sundays I love to go out on our little boat."}
    proposal = {"text": "I enjoy sailing.", "source": "inferred", "confidence": 0.8, "metadata": said}
    store.proposals.add("ada", [proposal])
    store.add("ben", "Answer in formal, polite language.", scope="always")
    store.add("ben", "I am a vegetarian.")
    return "ada", "ben"
