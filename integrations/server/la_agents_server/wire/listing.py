"""Listings: what answers of several things look like."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

from pydantic import BaseModel

__all__ = ["Listing"]

T = TypeVar("T")


class Listing(BaseModel, Generic[T]):
    """A list, all of it."""

    object: Literal["list"]
    data: list[T]
