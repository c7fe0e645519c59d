"""Notifications about an account's batches: e-mails to members, and messages to chat channels.

There is no queue of notifications. ``digest`` collects the events of a time span from the database;
``sending`` stores, for each subscription and chat channel, the end of the span that was sent last.
"""
