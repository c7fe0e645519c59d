"""Backups: database, secrets and settings in one encrypted file, verified by reading it back."""
