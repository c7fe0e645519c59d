"""Benchmark of the engine against its peers: same recordings, same weights, same number of threads.

Each measurement is a process of its own, so that its memory is counted alone. The variants take turns in
every round, so that load from other work on the machine affects all of them alike.
"""
