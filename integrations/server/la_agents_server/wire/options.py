"""What requests of all of OpenAI's wires have in common; our own object `la_agents` is checked strictly."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from la_agents_server.wire.numbers import WHOLE

__all__ = ["Asked", "Conversation", "Options", "Sampled"]

Number = Annotated[float, Field(allow_inf_nan=False)]


class Options(BaseModel):
    """How this answer is aligned; what is left out is as the server was started with.

    See `ChatLinearAlignment` for each but these: `memory`, whether the user's preferences are used at all; and
    `without`, ids of preferences that this answer leaves out.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    strength: Number | None = None
    method: str | None = None
    compose: Literal["joint", "sum"] | None = None
    principles: Annotated[list[Annotated[str, Field(min_length=1, max_length=2_000)]], Field(max_length=32)] | None = (
        None
    )
    explain: bool = False
    max_divergence: Number | None = None
    fluency: Number | None = None
    support: Literal["nucleus", "plausible", "all"] | None = None
    principle_top_p: Number | None = None
    mask_temperature: Number | None = None
    plausibility: Number | None = None
    push: Literal["uniform", "tapered", "adaptive"] | None = None
    taper: Number | None = None
    align_structured: bool | None = None
    template_variables: dict[str, JsonValue] | None = None
    memory: bool = True
    without: Annotated[list[str], Field(max_length=1_000)] = Field(default_factory=list)

    def arguments(self) -> dict[str, Any]:
        """As arguments of a call."""
        return self.model_dump(exclude={"memory", "without"}, exclude_none=True)


class Asked(BaseModel):
    """Fields of every question; unknown ones are ignored, unless they ask for what is not there."""

    model_config = ConfigDict(strict=True, extra="allow")

    model: str
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    stream: bool | None = None
    user: str | None = None
    safety_identifier: str | None = None
    la_agents: Options | None = None

    def arguments(self) -> dict[str, Any]:
        """How tokens are chosen, as arguments of a call."""
        return {"temperature": self.temperature, "top_p": self.top_p}


class Conversation(Asked):
    """Fields of chats and responses."""

    tools: list[dict[str, JsonValue]] | None = None
    tool_choice: str | dict[str, JsonValue] | None = None
    parallel_tool_calls: bool | None = None


class StreamOptions(BaseModel):
    """Of a streamed answer."""

    model_config = ConfigDict(strict=True)

    include_usage: bool = False


class Sampled(Asked):
    """Fields of chat and text completions."""

    max_tokens: Annotated[int, Field(ge=1, le=2**31), WHOLE] | None = None
    n: Annotated[int, Field(ge=1), WHOLE] | None = None
    seed: Annotated[int, WHOLE] | None = None
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    stream_options: StreamOptions | None = None

    @property
    def with_usage(self) -> bool:
        """Whether a last chunk of the stream says how many tokens there were."""
        return self.stream_options is not None and self.stream_options.include_usage

    def arguments(self) -> dict[str, Any]:
        """How tokens are chosen and when the answer ends, as arguments of a call."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop
        return {**super().arguments(), "max_tokens": self.max_tokens, "seed": self.seed, "stop": stop}
