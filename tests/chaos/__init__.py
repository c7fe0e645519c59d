"""Chaos suite: the portal under faults, with real clusters and a real S3 server behind a faulty proxy.

``python -m tests.chaos --help`` says what can be chosen; ``make chaos`` runs it.
"""
