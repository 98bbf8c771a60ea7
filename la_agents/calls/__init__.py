"""Calls: from the settings of a face and the arguments of a call to a request for an engine, and back to metadata."""
