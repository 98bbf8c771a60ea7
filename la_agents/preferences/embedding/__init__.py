"""Texts to vectors: the bundled sentence embeddings, and any other LangChain Embeddings."""
