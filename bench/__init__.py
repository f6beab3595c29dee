"""Benchmarks: `python -m bench NAME`. Each prints one table of what was measured, what must be and what is aimed at."""
