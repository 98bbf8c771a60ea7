"""The wire: OpenAI's requests and answers as values, without routes."""
