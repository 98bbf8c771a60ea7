"""Calls: from a face's settings and a call's arguments to a request for an engine, and from its answer to metadata."""
