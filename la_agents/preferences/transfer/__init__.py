"""Preferences as files: out of the store, and into it from here or from other libraries."""
