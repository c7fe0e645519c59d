"""Measure the engine against its peers: same recordings, same weights, same number of threads.

Each measurement is a process of its own, so that memory is its own too, and the variants take turns, so
that a machine with other things to do treats them alike.
"""
