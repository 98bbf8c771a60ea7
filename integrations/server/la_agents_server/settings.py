"""Settings of a server: who may reach it, what it takes, and how it knows users."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr

__all__ = ["Settings"]


class Settings(BaseModel):
    """What `create_app` needs beside the model and the store; the commands' options carry the same names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database: Path
    """SQLite file of keys, sessions and of when preferences were used; it holds no preference text."""
    model_name: str | None = None
    """How clients call the model; None takes the model's own name."""
    allowed_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    """Host headers that are answered, without the port; "*" for any."""
    secure_cookies: bool = False
    """Whether the page's cookie is sent over TLS only; set it behind a TLS proxy."""
    session_days: float = Field(default=30.0, gt=0)

    jwt_secret: SecretStr | None = None
    """Shared secret of user tokens signed by HS256."""
    jwt_public_key: str | None = None
    """PEM of the key that verifies user tokens signed by RS256."""
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwt_claim: str = "sub"
    """The claim that names the user."""

    oidc_issuer: str | None = None
    """URL of an OpenID Connect provider by which users sign in to the page."""
    oidc_client_id: str | None = None
    oidc_client_secret: SecretStr | None = None
    oidc_claim: str = "sub"
    """The claim of the provider's that names the user."""
    public_url: str | None = None
    """Where browsers reach the server, such as `https://prefs.example.org`; the provider sends them back there."""

    max_body_bytes: int = Field(default=2 * 2**20, ge=1_024)
    max_import_bytes: int = Field(default=64 * 2**20, ge=1_024)
    max_choices: int = Field(default=8, ge=1)
    max_tools: int = Field(default=128, ge=0)
    max_schema_bytes: int = Field(default=64 * 2**10, ge=1)
    """Of a response format, and of all tools together, as JSON."""
    requests_per_minute: int = Field(default=600, ge=1)
    """Of one key, unless the key has its own limit."""
    max_concurrent: int = Field(default=64, ge=1)
    """Requests of one key at a time, unless the key has its own limit."""
    heartbeat_seconds: float = Field(default=15.0, gt=0)
    """Silence after which a stream carries a comment, so that proxies keep it open."""
    shutdown_seconds: int = Field(default=30, ge=0)
    """How long running answers may go on once the server is asked to stop."""
