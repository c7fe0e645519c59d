"""CLOVA Speech-compatible API: programs written for CLOVA Speech need only another URL and token."""
