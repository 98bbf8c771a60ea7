"""The command line `la-agents`: one file per command group, each command a few lines around the library.

The answer goes to standard output, notes and errors to standard error. Nothing here imports torch,
transformers or chromadb before a command needs them, so `--help` is quick.
"""

from la_agents.cli.app import app, main

__all__ = ["app", "main"]
