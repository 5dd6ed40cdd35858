"""One file a claim: `python -m benchmarks.bench_<claim>`."""
