"""Benchmarks: ratios taken in one run, contenders in turn. See `make bench`."""
