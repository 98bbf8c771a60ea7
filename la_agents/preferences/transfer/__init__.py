"""Export and import of preferences, also from other libraries."""
