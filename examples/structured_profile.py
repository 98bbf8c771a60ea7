"""A user's profile as an object: whatever the model says, it parses and validates."""

import tempfile
from typing import Literal

from pydantic import BaseModel, Field

from la_agents import ChatLinearAlignment, PreferenceStore

LETTER = "My name is Ada. I am a vegetarian, I live in Lisbon with two children, and I love hiking and jazz."


class Profile(BaseModel):
    """What a letter says about its author."""

    name: str = Field(max_length=20)
    diet: Literal["anything", "vegetarian", "vegan"]
    children: int = Field(ge=0, le=20)
    interests: list[str] = Field(min_length=1, max_length=3)


def main() -> None:
    """Read a letter into a profile and keep what matters to answers."""
    llm = ChatLinearAlignment(max_tokens=96)
    profile = llm.with_structured_output(Profile).invoke(f"Read this letter: {LETTER}")
    assert isinstance(profile, Profile)
    print(profile.model_dump_json(indent=2))

    with tempfile.TemporaryDirectory() as folder:
        store = PreferenceStore(path=folder)
        store.add("ada", f"My diet: {profile.diet}.", scope="always", source="inferred")
        store.add_many("ada", [{"text": f"I like {each}.", "source": "inferred"} for each in profile.interests if each])
        for preference in store.list("ada"):
            print(preference.scope, preference.text)


if __name__ == "__main__":
    main()
