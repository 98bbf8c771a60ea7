"""Options: the object `la_agents` of a request, strictly checked."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

__all__ = ["Options"]

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
