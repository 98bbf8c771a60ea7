"""Whether a new preference says what is known, again or otherwise: who judges, and what follows from it."""
