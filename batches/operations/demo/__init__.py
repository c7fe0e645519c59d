"""``make demo``: the whole workflow end to end, on real speech."""
