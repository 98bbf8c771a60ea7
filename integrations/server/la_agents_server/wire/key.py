"""Keys: what an admin asks for, and what the answers look like."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from la_agents.users import MAX_USER_ID_CHARS
from la_agents_server.keys import Key
from la_agents_server.wire.numbers import WHOLE

__all__ = ["LinkView", "MadeKey", "NewKey", "NewLink", "PurgeReceipt", "RevokedKey"]

_PLAIN = r"[^\x00-\x1f\x7f-\x9f]*"
User = Annotated[str, Field(max_length=MAX_USER_ID_CHARS, pattern=rf"^{_PLAIN}[^\s\x00-\x1f\x7f-\x9f]{_PLAIN}$")]
Name = Annotated[str, Field(max_length=200, pattern=f"^{_PLAIN}$")]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _NewKey(_Wire):
    """A key to make; see `la-agents-server keys add`."""

    name: Name = ""
    days: Annotated[float, Field(gt=0, le=36_500)] | None = None
    requests_per_minute: Annotated[int, Field(ge=1, le=100_000), WHOLE] | None = None
    max_concurrent: Annotated[int, Field(ge=1, le=100_000), WHOLE] | None = None


class NewAdminKey(_NewKey):
    """A key that manages keys and layers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"kind": "admin", "name": "operator", "days": 90}]})

    kind: Literal["admin"]


class NewPersonalKey(_NewKey):
    """A key of one user."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"kind": "personal", "user": "alice"}]})

    kind: Literal["personal"]
    user: User
    learns: bool = False


class NewApplicationKey(_NewKey):
    """A key of an application, which names its users."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"kind": "application", "name": "rag", "prefix": "rag:", "days": 90}]}
    )

    kind: Literal["application"]
    prefix: Name = ""
    names_users: bool = False
    learns: bool = False


NewKey = Annotated[NewAdminKey | NewPersonalKey | NewApplicationKey, Field(discriminator="kind")]


class NewLink(_Wire):
    """A link that signs a user in to the page, once."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user": "alice", "hours": 2.0}]})

    user: User
    hours: Annotated[float, Field(gt=0, le=720)] = 24.0


class MadeKey(Key):
    """A new key, with the key itself, which is shown this once."""

    object: Literal["key"]
    key: str


class RevokedKey(BaseModel):
    """A key that is accepted no more."""

    object: Literal["key"]
    id: str
    revoked: Literal[True]


class LinkView(BaseModel):
    """Where a user signs in, once."""

    object: Literal["link"]
    url: str


class PurgeReceipt(BaseModel):
    """What a purge kept, what it removed, and the folder's size before and after; see `Purged` of the library."""

    object: Literal["purge"]
    num_kept: int
    num_gone: int
    num_bytes_before: int
    num_bytes_after: int
