"""Speech Portal: a self-hosted, multi-tenant portal for batch speech recognition."""

__version__ = "0.1.0"
