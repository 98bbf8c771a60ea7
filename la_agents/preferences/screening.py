"""Detects texts that look like prompt injection. They are only flagged: stored texts are treated as data anyway."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["flags"]

_MARKERS = (
    r"<\|[^|<>\s]{1,40}\|>",
    r"</?s>",
    r"</?(?:system|tool_call|tool_response|think)>",
    r"\[/?INST\]",
    r"<</?SYS>>",
    r"<(?:start|end)_of_turn>",
    r"^\s*#{2,}\s*(?:system|assistant|user|instruction)\b",
    r"^\s*(?:system|assistant|human|user)\s*:",
)
_ORDERS = r"(?:instructions?|prompts?|guidelines|guardrails|restrictions|polic(?:y|ies))"
_RULES = (
    rf"\b(?:ignore|disregard|override|bypass|(?:not|don't|never) (?:follow|obey))\b.{{0,40}}\b(?:rules?|{_ORDERS})\b",
    rf"\bforget (?:all |about )*(?:your|the|these|those|previous|prior|earlier)\b.{{0,20}}\b{_ORDERS}\b",
    r"\bforget (?:all |about )*your rules?\b",
    r"\b(?:print|repeat|leak|show)\b.{0,15}\byour (?:\w+ )?(?:prompt|instructions)\b",
    r"\breveal\b.{0,30}\b(?:prompt|instructions|secrets?|password)\b",
    r"\bact as an? (?:unrestricted|uncensored|unfiltered|jailbroken)\b",
    r"\bpretend (?:you|to be|that you)\b",
    r"\byou are (?:now|no longer)\b",
    r"\bsystem prompt\b",
    r"\b(?:developer|jailbreak|dan) mode\b",
)
_MARKER = re.compile("|".join(_MARKERS), re.IGNORECASE | re.MULTILINE)
_RULE = re.compile("|".join(_RULES), re.IGNORECASE | re.DOTALL)


def flags(text: str) -> tuple[str, ...]:
    """Why a text is suspicious, in words; empty for almost every preference. English for what addresses the rules."""
    text = unicodedata.normalize("NFKC", text)  # wide letters and bars are letters and bars
    found = []
    if _MARKER.search(text):
        found.append("carries chat-template markers")
    if _RULE.search(text):
        found.append("addresses the model's rules")
    return tuple(found)
