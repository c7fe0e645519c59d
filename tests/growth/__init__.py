"""Parts of ``python -m tests.bench_growth``: filling a database, its steps, its rates."""
