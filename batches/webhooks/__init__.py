"""Outbox: everything that the portal posts to receivers, webhook messages and callbacks.

``outbox`` and ``callbacks`` insert messages into the table of deliveries, in the transaction of the reported
change. ``events`` and ``kinds`` are the registries of webhook events and message kinds. ``sender`` sends;
``delivery_lifecycle`` claims deliveries and records the outcome of each attempt; ``endpoint`` manages a
batch's secret and health; ``redelivery`` and ``selectors`` are for members. ``payload``, ``signing`` and
``retry_policy`` are pure functions.
"""
