"""Speed and memory, always beside what others do on the same work: ``python -m benchmarks``."""
