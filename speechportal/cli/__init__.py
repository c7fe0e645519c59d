"""Command-line client for members, ``speechportal``. It uses the REST API only and imports no Django."""
