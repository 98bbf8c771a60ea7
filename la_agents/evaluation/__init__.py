"""Measurements on labelled data: what the memory merges and replaces, and whether it finds what a question needs."""
