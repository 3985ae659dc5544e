"""Benchmarks: each checks the values first, then prints a table of times and memory."""
