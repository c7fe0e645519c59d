"""Outbox: everything that the portal posts to receivers, webhook messages and callbacks.

``outbox`` and ``callbacks`` put messages into the table of deliveries, in the transaction of what they
report. ``events`` and ``kinds`` are the registries of webhook events and message kinds. ``sender`` sends;
``delivery_lifecycle`` claims deliveries and records the outcome of each attempt; ``endpoint`` holds a
batch's secret and health; ``redelivery`` and ``selectors`` are for members. ``payload``, ``signing`` and
``retry_policy`` are the arithmetic.
"""
