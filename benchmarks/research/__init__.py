"""Research suites: measurements of the method and of the memory that are no part of the library."""
