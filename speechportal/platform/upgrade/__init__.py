"""Upgrades of an installation from a Git checkout: back up, migrate, switch the code, restart, or go back.

The modules use the standard library alone, since the code around them is replaced while they run.
"""
