from __future__ import annotations

import openai
import pytest
from serving import Served


@pytest.fixture
def client(tiny_server: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{tiny_server.url}/v1", api_key=tiny_server.key("alice"), max_retries=0)


MESSAGES = [{"role": "user", "content": "Tell me about the sea."}]


def test_a_whole_answer_and_a_streamed_one_are_the_same(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="tiny-llama", messages=MESSAGES, seed=3, temperature=1.0)
    stream = client.chat.completions.create(
        model="tiny-llama", messages=MESSAGES, seed=3, temperature=1.0, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    assert len({(c.id, c.created, c.model) for c in chunks}) == 1
    print(whole)
