"""Notifications of members by mail, and of chat channels, about what happened to an account's batches.

Nothing is queued: ``digest`` reads what happened in a span of time from the tables, ``sending`` remembers per
person, topic and channel up to when they were told.
"""
