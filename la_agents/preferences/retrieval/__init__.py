"""Finding the preferences that matter to a message."""
