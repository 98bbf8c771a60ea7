"""How a new preference relates to the stored ones, and what that changes."""
