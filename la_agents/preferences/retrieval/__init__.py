"""Which preferences a question calls for."""
