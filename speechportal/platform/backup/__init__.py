"""Backups: database, secrets and settings in one encrypted file, which is read back once it is written."""
