"""How records are stored on Chroma, read, written and maintained."""
