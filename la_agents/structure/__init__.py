"""Structure: tool calls and structured output, from schemas and tools to grammars, and from answers to calls."""
