"""JSON schemas, rewritten so that what is decoded by them parses and validates."""
