"""Prefix cache: keys and values of prompt prefixes seen before, in blocks of tokens, least recently used out first.

A block is found by the digest of all tokens up to its end, so equal prefixes share blocks whatever follows. Blocks that
reach beyond a request's public tokens carry its salt (the user) in the digest: no user finds another one's prefix.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

from la_agents.engine.kv_cache import KeyValues

__all__ = ["PrefixCache"]


class PrefixCache:
    """An LRU map from token prefixes to keys and values, bounded in bytes; 0 bytes switches it off."""

    def __init__(self, max_bytes: int, block_size: int = 32) -> None:
        self.max_bytes = max_bytes
        self.block_size = block_size
        self.num_bytes = 0
        self.num_hit_tokens = 0
        self.num_looked_up_tokens = 0
        self._blocks: OrderedDict[bytes, KeyValues] = OrderedDict()

    def __len__(self) -> int:
        return len(self._blocks)

    def find(self, tokens: Sequence[int], *, salt: str = "", num_public: int = 0) -> list[KeyValues]:
        """The blocks of the longest cached prefix of `tokens`, in order."""
        found: list[bytes] = []
        for digest in self._digests(tokens, salt, num_public):
            if digest not in self._blocks:
                break
            found.append(digest)
        self._touch(found)
        self.num_hit_tokens += len(found) * self.block_size
        self.num_looked_up_tokens += len(tokens)
        return [self._blocks[digest] for digest in found]

    def insert(
        self, tokens: Sequence[int], read: Callable[[int, int], KeyValues], *, salt: str = "", num_public: int = 0
    ) -> None:
        """Keep the whole blocks of `tokens` that are new; `read(start, stop)` copies their keys and values."""
        if not self.max_bytes:
            return
        digests = list(self._digests(tokens, salt, num_public))
        for i, digest in enumerate(digests):
            if digest not in self._blocks:
                block = read(i * self.block_size, (i + 1) * self.block_size)
                self._blocks[digest] = block
                self.num_bytes += _num_bytes(block)
        self._touch(digests)
        while self.num_bytes > self.max_bytes:
            _, evicted = self._blocks.popitem(last=False)
            self.num_bytes -= _num_bytes(evicted)

    def _touch(self, digests: Sequence[bytes]) -> None:
        """Mark as just used; from the end, so that a prefix outlives what builds on it."""
        for digest in reversed(digests):
            self._blocks.move_to_end(digest)

    def clear(self) -> None:
        self._blocks.clear()
        self.num_bytes = 0

    def _digests(self, tokens: Sequence[int], salt: str, num_public: int) -> Iterator[bytes]:
        """One digest a whole block, each over everything before it."""
        digest = b""
        for end in range(self.block_size, len(tokens) + 1, self.block_size):
            block = array("q", tokens[end - self.block_size : end]).tobytes()
            secret = salt.encode("utf-8", "surrogatepass") if end > num_public else b""
            digest = hashlib.blake2b(digest + block, key=hashlib.sha256(secret).digest(), digest_size=16).digest()
            yield digest


def _num_bytes(block: KeyValues) -> int:
    return sum(keys.nbytes + values.nbytes for keys, values in block)
