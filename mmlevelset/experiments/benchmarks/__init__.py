"""Benchmarks. Each first checks the values, then prints times and memory as tables."""
