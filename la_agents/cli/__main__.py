"""`python -m la_agents.cli` is `la-agents`."""

from la_agents.cli import main

main()
