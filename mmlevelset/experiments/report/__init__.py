"""One HTML page about several runs."""
