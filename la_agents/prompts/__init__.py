"""Prompts: messages and principles in, the reference prompt and one prompt a branch out."""
