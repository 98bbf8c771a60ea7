"""Report: what alignment did to one answer, as values, as a page and as text for a terminal."""
