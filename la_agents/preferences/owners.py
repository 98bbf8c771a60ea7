"""Owners of records: users and shared layers.

A shared layer is an application's or an organisation's own preferences, which apply to every user before the user's. It
lies in the store like a user whose id no caller can give: user ids have no control characters.
"""

from __future__ import annotations

from dataclasses import dataclass

from la_agents.errors import ConfigurationError
from la_agents.users import as_user_id

__all__ = ["Layer", "owner_of"]

_KEY = "\x1flayer\x1f"


@dataclass(frozen=True, slots=True)
class Layer:
    """The name of a shared layer, such as "acme".

    Raises:
        ConfigurationError: it is blank, too long, or one of the names that principles have otherwise.
    """

    name: str

    def __post_init__(self) -> None:
        name = self.name
        if not isinstance(name, str) or not name.strip() or len(name) > 64 or not name.isprintable():
            msg = f"Expected the name of a layer to be 1 to 64 printable characters, got {name!r}."
            raise ConfigurationError(msg)
        if name in ("user", "call"):
            msg = f"Expected a layer of another name, got {name!r}, which stands for what users and calls give."
            raise ConfigurationError(msg)

    @property
    def key(self) -> str:
        """What is stored in the place of a user id."""
        return f"{_KEY}{self.name}"

    @staticmethod
    def is_key(owner: str) -> bool:
        """Whether records of this owner are a layer's."""
        return owner.startswith(_KEY)


def owner_of(user: object) -> str:
    """Return the id under which records are stored: a layer's key, or the user's id.

    Raises:
        UserNotSpecifiedError: it is neither a layer nor a valid user.
    """
    return user.key if isinstance(user, Layer) else as_user_id(user)
