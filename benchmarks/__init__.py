"""Speed and scale, side by side with peers; each module is one command."""
