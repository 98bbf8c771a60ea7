"""`with_structured_output` and `response_format` on random models: what comes out is of the schema, whatever it is."""

from __future__ import annotations

import dataclasses
import re
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import jsonschema
import pydantic
import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from pydantic import BaseModel, Field, FiniteFloat, TypeAdapter
from typing_extensions import NotRequired, ReadOnly, Required, TypedDict

from la_agents import ChatLinearAlignment
from la_agents.errors import ConfigurationError, GenerationError, RequestTooLargeError
from la_agents.requests import Grammar
from la_agents.structure.json_schema import narrowed
from la_agents.structure.structured_output import schema_of
from tests.grammar_walks import walks
from tests.tiny import tiny_model


class Colour(Enum):
    RED = "röt"
    BLUE = "blue"


class Plain:
    """Of which pydantic knows nothing."""


@dataclasses.dataclass
class Point:
    x: int
    tags: list[Literal["a", "b"]]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(ge=1, le=9)


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    tricks: list[Literal["sit", "roll"]] = Field(max_length=2)


class Person(BaseModel):
    """Somebody."""

    name: str = Field(min_length=1, max_length=20)
    age: int = Field(ge=0, lt=150)
    height: float = Field(gt=0.5, lt=2.5)
    colour: Colour
    email: str | None = None
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    parent: Person | None = None
    scores: dict[str, int] = Field(default_factory=dict)


class Trip(TypedDict):
    """A trip."""

    city: Annotated[str, ..., "where to"]
    days: Annotated[int, ..., "how long"]


class Parcel(TypedDict, total=False):
    """A parcel."""

    weight: Required[Annotated[int, Field(ge=1, le=9)]]
    fragile: NotRequired[bool]
    sender: Annotated[Literal["me"], "who"]


class Address(TypedDict):
    number: ReadOnly[Literal[7]]
    parcels: Annotated[list[Parcel], Field(max_length=1)]


JSON_SCHEMA = {
    "title": "answer",
    "type": "object",
    "properties": {"ja": {"type": "boolean"}, "liste": {"type": "array", "items": {"type": "number"}, "maxItems": 2}},
    "required": ["ja", "liste"],
}


def chat(family: str = "llama", **options: Any) -> ChatLinearAlignment:
    settings = {"temperature": 1.2, "max_tokens": 300, "principles": ["Be brief."], **options}
    return ChatLinearAlignment(model=tiny_model(family), **settings)


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
@pytest.mark.parametrize("family", ["llama", "qwen2", "mistral"])
def test_a_pydantic_class_gives_its_objects(family: str, method: Any) -> None:
    # LangChain's conversion to a tool unfolds what holds itself; and the tiny models' context is short.
    schema: Any = Person if method == "json_mode" else Cat
    for seed in range(3):
        answer = chat(family, seed=seed).with_structured_output(schema, method=method).invoke("Who?")
        assert isinstance(answer, schema)


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_typed_dicts_and_schemas_give_dicts(method: Any) -> None:
    llm = chat(seed=4)
    trip = llm.with_structured_output(Trip, method=method).invoke("Where?")
    assert set(trip) == {"city", "days"}
    answer = llm.with_structured_output(JSON_SCHEMA, method=method).invoke("Yes?")
    jsonschema.validate(answer, {**JSON_SCHEMA, "additionalProperties": False})


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
@pytest.mark.parametrize("type_", [Parcel, Address])
@pytest.mark.filterwarnings("ignore:.*ReadOnly")
def test_typed_dicts_with_qualifiers_give_their_dicts(type_: Any, method: Any) -> None:
    for seed in range(3):
        answer = chat(seed=seed).with_structured_output(type_, method=method).invoke("What?")
        assert TypeAdapter(type_).validate_python(answer, strict=True) == answer


def test_typed_dicts_with_qualifiers_are_tools() -> None:
    llm = chat(seed=1, principles=[]).bind_tools([Parcel], tool_choice="Parcel")
    (call,) = llm.invoke("What?").tool_calls
    assert call["name"] == "Parcel"
    assert TypeAdapter(Parcel).validate_python(call["args"], strict=True)["weight"] in range(1, 10)


def test_a_prompt_that_fills_the_context_is_told_from_a_grammar_that_does() -> None:
    with pytest.raises(RequestTooLargeError, match="context"):
        chat().with_structured_output(Cat).invoke("word " * 2000)


def test_any_json_object() -> None:
    for seed in range(3):
        answer = chat(seed=seed, max_tokens=60).with_structured_output(None, method="json_mode").invoke("Hi")
        assert isinstance(answer, dict)


def test_include_raw() -> None:
    answer = chat(seed=1).with_structured_output(Cat, include_raw=True).invoke("Hi")
    assert set(answer) == {"raw", "parsed", "parsing_error"}
    assert isinstance(answer["raw"], AIMessage)
    assert isinstance(answer["parsed"], Cat)
    assert answer["parsing_error"] is None


def test_what_the_schema_does_not_say_can_still_fail_to_validate() -> None:
    """A validator in Python is beyond any grammar; the error is LangChain's, and include_raw keeps it."""

    class Odd(Cat):
        @pydantic.field_validator("lives")
        @classmethod
        def _never(cls, value: int) -> int:
            raise ValueError("never")

    answer = chat(seed=1).with_structured_output(Odd, include_raw=True).invoke("Hi")
    assert answer["parsed"] is None
    assert "never" in str(answer["parsing_error"])


async def test_streams_and_async() -> None:
    structured = chat(seed=2).with_structured_output(JSON_SCHEMA)
    whole = structured.invoke("Hi")
    *_, last = structured.stream("Hi")
    assert last == whole
    assert await structured.ainvoke("Hi") == whole
    *_, last = [part async for part in structured.astream("Hi")]
    assert last == whole
    assert structured.batch(["Hi", "Hi"]) == [whole, whole]


def test_a_chain_of_prompt_and_schema() -> None:
    prompt = ChatPromptTemplate.from_messages([("system", "You know {what}."), ("human", "Tell me.")])
    assert isinstance((prompt | chat(seed=3).with_structured_output(Cat)).invoke({"what": "cats"}), Cat)


@pytest.mark.parametrize("seed", range(3))
def test_other_formats(seed: int) -> None:
    llm = chat(seed=seed)
    formats = {
        "[0-9]{3}-[a-f]+": {"type": "regex", "regex": "[0-9]{3}-[a-f]+"},
        "yes|näh": {"type": "choice", "choice": ["yes", "näh"]},
        "(ab)+!": {"type": "lark", "lark": 'start: ("ab")+ "!"'},
    }
    for pattern, response_format in formats.items():
        assert re.fullmatch(pattern, llm.bind(response_format=response_format).invoke("Hi").content)
    assert llm.bind(response_format={"type": "text"}).invoke("Hi").content == llm.invoke("Hi").content
    assert Cat.model_validate_json(llm.bind(response_format=Cat).invoke("Hi").content)


def test_tools_beside_a_format() -> None:
    """Either a call or JSON of the schema, and never free text."""

    @tool
    def clock() -> str:
        """What time it is."""
        return "noon"

    schema = {"type": "json_schema", "json_schema": {"schema": JSON_SCHEMA}}
    for seed in range(5):
        message = chat(seed=seed).bind_tools([clock], response_format=schema).invoke("Hi")
        if message.tool_calls:
            assert message.tool_calls[0]["name"] == "clock"
            assert message.content == ""
        else:
            jsonschema.validate(pydantic.TypeAdapter(dict).validate_json(message.content), JSON_SCHEMA)


@pytest.mark.parametrize("strategy", [ToolStrategy, ProviderStrategy])
def test_agents_with_a_response_format(strategy: Any) -> None:
    """Both of LangChain's ways; the middleware decides that the tool is called once and then no more."""

    @tool
    def clock() -> str:
        """What time it is."""
        return "noon"

    class Once(AgentMiddleware):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            first = isinstance(request.messages[-1], HumanMessage)
            return handler(request.override(tool_choice="clock") if first else request.override(tools=[]))

    agent = create_agent(chat(seed=1), [clock], middleware=[Once()], response_format=strategy(Cat))
    answer = agent.invoke({"messages": [HumanMessage("Hi")]}, {"recursion_limit": 9})
    assert isinstance(answer["structured_response"], Cat)
    assert any(isinstance(m, ToolMessage) and m.content == "noon" for m in answer["messages"])


def test_the_model_is_told_the_schema_unless_in_json_mode() -> None:
    described = {"type": "object", "properties": {"x": {"type": "integer", "description": "Qdescribedq"}}}
    told = _prompt_tokens(response_format={"type": "json_schema", "json_schema": {"schema": described}})
    untold = _prompt_tokens(response_format={"type": "json_object", "schema": described})
    assert told > untold + 10
    assert untold == _prompt_tokens()


def _prompt_tokens(**arguments: Any) -> int:
    message = chat(principles=[], max_tokens=80).invoke("Hi", **arguments)
    return message.usage_metadata["input_tokens"]


@pytest.mark.parametrize(
    ("schema", "method", "reason"),
    [
        ({"title": "a", "type": "object", "properties": {"x": {"type": "strin"}}}, "json_schema", "strin"),
        ({"const": 2**60}, "json_schema", "written exactly"),
        ({"city": "string"}, "json_schema", "'city'"),
        ({"name": "a", "strict": True}, "json_schema", "'strict'"),
        ({"type": "json_schema"}, "json_schema", "keyword"),
        (Plain, "json_schema", "Plain"),
        (Cat(kind="cat", lives=1), "json_schema", "Cat"),
        ([JSON_SCHEMA], "json_schema", "list"),
        ("Cat", "json_schema", "str"),
        (Colour, "function_calling", "Colour"),
        (Cat, "magic", "method"),
        (None, "json_schema", "json_mode"),
        (7, "json_schema", "int"),
    ],
)
def test_unusable_schemas_are_refused_at_once(schema: Any, method: Any, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        ChatLinearAlignment(model="no/such/model").with_structured_output(schema, method=method)


def test_a_schema_that_is_nested_too_deeply_is_refused_wherever_it_comes_from() -> None:
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(250):
        schema = {"type": "object", "properties": {"a": schema}}
    llm = ChatLinearAlignment(model="no/such/model")
    tool_ = {"name": "deep", "parameters": schema}
    for method in ("json_schema", "json_mode", "function_calling"):
        with pytest.raises(ConfigurationError, match="levels"):
            llm.with_structured_output({"title": "deep", **schema}, method=method)
    with pytest.raises(ConfigurationError, match=r"'deep'.*levels"):
        llm.bind_tools([tool_])
    with pytest.raises(ConfigurationError):
        llm.bind_tools([tool_], strict=True)
    with pytest.raises(ConfigurationError, match="levels"):
        llm.invoke("Hi", response_format={"type": "json_object", "schema": schema})


@pytest.mark.parametrize("response_format", [{"type": "xml"}, "json", {}, {"type": "regex"}, {"type": "json_schema"}])
def test_unknown_formats_are_refused_before_any_work(response_format: Any) -> None:
    with pytest.raises(ConfigurationError):
        ChatLinearAlignment(model="no/such/model").invoke("Hi", response_format=response_format)


@pytest.mark.parametrize(
    "form",
    [
        lambda schema: {"name": "answer", "strict": True, "schema": schema},
        lambda schema: {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
        lambda schema: {"type": "json_schema", "name": "answer", "schema": schema},
        lambda schema: {"type": "function", "function": {"name": "answer", "parameters": schema}},
        lambda schema: {"type": "function", "name": "answer", "parameters": schema},
        lambda schema: {"name": "answer", "description": "d", "parameters": schema},
        lambda schema: {"name": "answer", "input_schema": schema},
        lambda schema: {"name": "answer", "inputSchema": schema},
        lambda schema: {"toolSpec": {"name": "answer", "inputSchema": {"json": schema}}},
        lambda schema: schema,
    ],
)
def test_the_forms_in_which_vendors_wrap_a_schema(form: Any) -> None:
    assert schema_of(form(JSON_SCHEMA)) == JSON_SCHEMA
    assert schema_of(form({"$defs": {"N": {"type": "null"}}, "$ref": "#/$defs/N"}))["$ref"] == "#/$defs/N"


@pytest.mark.parametrize("method", ["json_schema", "json_mode", "function_calling"])
def test_openais_form_gives_its_objects(method: Any) -> None:
    form = {"name": "answer", "strict": True, "schema": JSON_SCHEMA}
    answer = chat(seed=2).with_structured_output(form, method=method).invoke("Hi")
    assert set(answer) == {"ja", "liste"}


@pytest.mark.parametrize(
    ("type_", "check"),
    [
        (Colour, lambda value: isinstance(value, Colour)),
        (Point, lambda value: isinstance(value, Point)),
        (list[Literal[1, 2]], lambda value: isinstance(value, list) and set(value) <= {1, 2}),
        (Literal["a", 7], lambda value: value in ("a", 7)),
        (Decimal, lambda value: isinstance(value, Decimal)),
        (bool | None, lambda value: value in (True, False, None)),
        (dict[int, bool], lambda value: all(isinstance(key, int) for key in value)),
        (set[Literal["a", "b"]], lambda value: isinstance(value, set)),
    ],
)
def test_other_types_give_their_values(type_: Any, check: Any) -> None:
    for seed in range(3):
        assert check(chat(seed=seed, max_tokens=120).with_structured_output(type_).invoke("Hi"))


@pytest.mark.parametrize(
    "type_",
    [
        FiniteFloat,
        Annotated[Decimal, Field(max_digits=2)],
        Annotated[Decimal, Field(max_digits=3, decimal_places=3)],
        Annotated[Decimal, Field(max_digits=2, decimal_places=3, ge=0)],
        Annotated[Decimal, Field(max_digits=3, decimal_places=3, lt=0.25)],
        pydantic.AnyUrl,
        pydantic.FtpUrl,
        pydantic.FileUrl,
        pydantic.WebsocketUrl,
        pydantic.PostgresDsn,
        pydantic.MongoDsn,
    ],
)
def test_texts_are_of_the_types_that_pydantic_reads(type_: Any) -> None:
    texts = list(walks(Grammar.json_schema(narrowed(schema_of(type_))), 200))
    assert len(texts) > 100
    for text in texts:
        TypeAdapter(type_).validate_json(text)


def test_a_dataclass_may_be_called() -> None:
    answer = chat(seed=1).with_structured_output(Point, method="function_calling").invoke("Hi")
    assert isinstance(answer, Point)


REPEATED = {
    "type": "array",
    "items": {"type": "string", "maxLength": 0},
    "uniqueItems": True,
    "minItems": 2,
    "maxItems": 3,
}


@pytest.mark.parametrize("kind", ["json_schema", "json_object"])
def test_what_decoding_cannot_keep_is_checked_in_the_answer(kind: str) -> None:
    """Two empty strings are never different; the keyword is named, the answer is not told."""
    inner = {"schema": REPEATED}
    response_format = {"type": kind, **(inner if kind == "json_object" else {"json_schema": inner})}
    llm = chat(seed=1)
    with pytest.raises(GenerationError, match="'uniqueItems'"):
        llm.invoke("Hi", response_format=response_format)
    with pytest.raises(GenerationError, match="'uniqueItems'"):
        list(llm.stream("Hi", response_format=response_format))
    with pytest.raises(GenerationError, match="'uniqueItems'"):
        llm.with_structured_output(REPEATED, method="json_mode").invoke("Hi")


def test_a_class_checks_itself() -> None:
    class Tags(BaseModel):
        tags: set[Annotated[str, Field(max_length=0)]] = Field(min_length=1)

    answer = chat(seed=1).with_structured_output(Tags).invoke("Hi")
    assert answer.tags == {""}
