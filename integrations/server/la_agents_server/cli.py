"""`la-agents-server`: serve, and the keys."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from la_agents.errors import LaAgentsError

__all__ = ["main"]

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
keys = typer.Typer(no_args_is_help=True, help="Keys: who may ask.")
app.add_typer(keys, name="keys")

StoreOption = Annotated[
    str, typer.Option("--store", envvar="LA_AGENTS_STORE", help="The store's folder or Chroma URL.")
]
DataOption = Annotated[
    Path,
    typer.Option("--data", envvar="LA_AGENTS_SERVER_DATA", help="Folder of keys and sessions."),
]


def main() -> None:
    """Run the command; what goes wrong on purpose is one line."""
    try:
        app()
    except LaAgentsError as error:
        print(str(error).encode(errors="replace").decode(), file=sys.stderr)
        sys.exit(2)


@app.command()
def serve(
    store: StoreOption = "prefs",
    data: DataOption = Path("la-agents-server"),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535)] = 8000,
    model: Annotated[str, typer.Option(envvar="LA_AGENTS_MODEL", help="Alias, folder, .gguf file or hub id.")] = "",
    device: Annotated[str, typer.Option(envvar="LA_AGENTS_DEVICE", help='"auto", or a torch device.')] = "auto",
    engine: Annotated[
        str, typer.Option(help="vllm+http://HOST:PORT: vLLM runs --model, by the name it has there.")
    ] = "local",
    tokenizer: Annotated[str | None, typer.Option(help="Where that model's tokenizer is, if not there.")] = None,
    max_rows: Annotated[int, typer.Option(help="Rows computed at once; an aligned answer has two or more.")] = 128,
    max_waiting: Annotated[int, typer.Option(help="Answers that wait for rows; one more is refused (503).")] = 256,
    model_name: Annotated[str | None, typer.Option(help="How clients call the model.")] = None,
    strength: Annotated[float | None, typer.Option(help="How closely answers follow preferences.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of an answer, unless it asks for another number.")] = 1024,
    timeout: Annotated[float, typer.Option(help="Seconds an answer may take.")] = 600.0,
    layer: Annotated[list[str] | None, typer.Option(help="Shared layers, in this order.")] = None,
    allow_host: Annotated[list[str] | None, typer.Option(help="Further Host headers to answer; '*' for any.")] = None,
    behind_tls: Annotated[bool, typer.Option("--behind-tls", help="Cookies over TLS only.")] = False,
    jwt_public_key: Annotated[Path | None, typer.Option(exists=True, help="PEM that verifies RS256 tokens.")] = None,
    jwt_issuer: Annotated[str | None, typer.Option()] = None,
    jwt_audience: Annotated[str | None, typer.Option()] = None,
    jwt_claim: Annotated[str, typer.Option(help="The claim that names the user.")] = "sub",
    oidc_issuer: Annotated[str | None, typer.Option(help="OpenID Connect provider for the page.")] = None,
    oidc_client_id: Annotated[str | None, typer.Option(help="Its secret: LA_AGENTS_OIDC_SECRET.")] = None,
    oidc_claim: Annotated[str, typer.Option(help="The provider's claim that names the user.")] = "sub",
    public_url: Annotated[str | None, typer.Option(help="Where browsers reach the server.")] = None,
    log_level: Annotated[str, typer.Option()] = "info",
    demo: Annotated[bool, typer.Option("--demo", help="Two users in a folder that is removed again.")] = False,
) -> None:
    """Serve OpenAI's wire, the preferences API and the page. LA_AGENTS_JWT_SECRET verifies HS256 user tokens."""
    from la_agents_server.serving import Address, run
    from la_agents_server.settings import Settings

    with _demo_folder(demo) as folder:
        settings = Settings(
            database=(folder or data) / "server.sqlite",
            model_name=model_name,
            allowed_hosts=("localhost", "127.0.0.1", "[::1]", host, *(allow_host or ())),
            secure_cookies=behind_tls,
            jwt_secret=os.environ.get("LA_AGENTS_JWT_SECRET") or None,  # type: ignore[arg-type]
            jwt_public_key=None if jwt_public_key is None else jwt_public_key.read_text(),
            jwt_issuer=jwt_issuer,
            jwt_audience=jwt_audience,
            jwt_claim=jwt_claim,
            oidc_issuer=oidc_issuer,
            oidc_client_id=oidc_client_id,
            oidc_client_secret=os.environ.get("LA_AGENTS_OIDC_SECRET") or None,  # type: ignore[arg-type]
            oidc_claim=oidc_claim,
            public_url=public_url,
        )
        if engine == "local":
            running = _local_engine(model, device, max_rows, max_waiting)
        else:
            running = _vllm_engine(engine, model, tokenizer, max_waiting)
        run(
            str(folder / "prefs") if folder else store,
            settings,
            {"engine": running, "max_tokens": max_tokens, "timeout": timeout, "strength": strength},
            tuple(layer or ()),
            Address(host, port, "https" if behind_tls else "http"),
            log_level=log_level,
            demo=demo,
        )


def _local_engine(model: str, device: str, max_rows: int, max_waiting: int) -> Any:
    from la_agents.engine.engine import Engine
    from la_agents.engine.scheduler import Limits
    from la_agents.models import DEFAULT_MODEL, load_model

    limits = Limits(max_rows=max_rows, max_waiting=max_waiting)
    return Engine(load_model(model or DEFAULT_MODEL, device=device), limits)


def _vllm_engine(url: str, model: str, tokenizer: str | None, max_waiting: int) -> Any:
    from la_agents.vllm import VllmEngine

    if not url.startswith(("vllm+http://", "vllm+https://")) or not model:
        msg = "Expected --engine vllm+http://HOST:PORT beside --model, the name that the vLLM server has for it."
        raise typer.BadParameter(msg)
    key = os.environ.get("LA_AGENTS_VLLM_KEY") or None
    return VllmEngine(url.removeprefix("vllm+"), model, key, tokenizer=tokenizer, max_under_way=max_waiting)


@contextmanager
def _demo_folder(demo: bool) -> Iterator[Path | None]:
    import tempfile

    if not demo:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="la-agents-demo-") as folder:
        yield Path(folder)


@keys.command("add")
def add_key(
    user: Annotated[str | None, typer.Option(help="A personal key of this user.")] = None,
    application: Annotated[str | None, typer.Option(help="A key of this application, which names its users.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="A key that manages keys and layers.")] = False,
    prefix: Annotated[str, typer.Option(help="An application's users begin so.")] = "",
    trust_names: Annotated[
        bool, typer.Option("--trust-names", help="Believe the application's `user` field and header without a token.")
    ] = False,
    learn: Annotated[bool, typer.Option("--learn", help="Propose preferences from what users say.")] = False,
    days: Annotated[float | None, typer.Option(help="Until it expires; by default never.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option()] = None,
    max_concurrent: Annotated[int | None, typer.Option()] = None,
    data: DataOption = Path("la-agents-server"),
) -> None:
    """Make a key, and print it: it is shown this once."""
    given = [kind for kind, chosen in (("personal", user), ("application", application), ("admin", admin)) if chosen]
    if len(given) != 1:
        msg = "Expected one of --user, --application and --admin."
        raise typer.BadParameter(msg)
    key, text = _keys(data).add(
        given[0],
        user=user,
        name=application or "",
        prefix=prefix,
        names_users=trust_names,
        learns=learn,
        days=days,
        requests_per_minute=requests_per_minute,
        max_concurrent=max_concurrent,
    )
    print(f"{key.id}, {key.kind}: keep it, it is not shown again.", file=sys.stderr)
    print(text)


@keys.command("list")
def list_keys(data: DataOption = Path("la-agents-server")) -> None:
    """List the keys, without the keys themselves."""
    for key in _keys(data).list():
        about = key.user or key.name or ""
        state = "revoked" if key.revoked_at else f"expires {_day(key.expires_at)}" if key.expires_at else "stands"
        print(f"{key.id}  {key.kind:<11}  {about:<24}  {state:<18}  last used {_day(key.last_used_at)}")


@keys.command("revoke")
def revoke_key(id: str, data: DataOption = Path("la-agents-server")) -> None:
    """Let a key be accepted no more; a server that runs notices at once."""
    if not _keys(data).revoke(id):
        msg = "Expected the id of a key, got another; see `la-agents-server keys list`."
        raise typer.BadParameter(msg)


@app.command()
def link(
    user: Annotated[str | None, typer.Option(help="Whom it signs in; by default the admin.")] = None,
    url: Annotated[str, typer.Option(help="Where the server is.")] = "http://127.0.0.1:8000",
    data: DataOption = Path("la-agents-server"),
) -> None:
    """Print a link that signs a user in to the page, once, within a day."""
    from la_agents_server.database import Database
    from la_agents_server.sign_ins import SignIns

    text = SignIns(Database(data / "server.sqlite"), 30.0).link(user)
    print(f"{url.rstrip('/')}/signin?token={text}")


def _keys(data: Path) -> Any:
    from la_agents_server.database import Database
    from la_agents_server.keys import Keys

    return Keys(Database(data / "server.sqlite"))


def _day(seconds: float | None) -> str:
    return "never" if seconds is None else datetime.fromtimestamp(seconds, UTC).date().isoformat()
