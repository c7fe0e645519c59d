"""The portal under faults: real clusters, a real S3 server behind a proxy that lies, and a killer.

``python -m tests.chaos --help`` says what can be chosen; ``make chaos`` runs it.
"""
