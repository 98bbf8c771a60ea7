"""Texts that look like an attempt on the prompt. They stay data whatever they say; whoever looks is told."""

from __future__ import annotations

import re

__all__ = ["flags"]

_MARKERS = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|^\s*#{2,}\s*(?:system|assistant|user|instruction)\b"
    r"|^\s*(?:system|assistant|human|user)\s*:",
    re.IGNORECASE | re.MULTILINE,
)
_RULES = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass)\b.{0,40}\b(?:instructions?|rules?|prompts?|guidelines|guardrails|"
    r"restrictions|polic(?:y|ies))\b|\bsystem prompt\b|\byou are (?:now|no longer)\b"
    r"|\b(?:developer|jailbreak|dan) mode\b"
    r"|\bpretend (?:you|to be|that you)\b|\breveal\b.{0,30}\b(?:prompt|instructions|secrets?|password)\b",
    re.IGNORECASE | re.DOTALL,
)


def flags(text: str) -> tuple[str, ...]:
    """Why a text is suspicious, in words; empty for almost every preference. English for what addresses the rules."""
    found = []
    if _MARKERS.search(text):
        found.append("carries chat-template markers")
    if _RULES.search(text):
        found.append("addresses the model's rules")
    return tuple(found)
