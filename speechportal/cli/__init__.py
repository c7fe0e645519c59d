"""The members' command line, ``speechportal``: knows the portal by its API alone and imports no Django."""
