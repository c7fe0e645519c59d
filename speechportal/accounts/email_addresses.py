"""Normalisation of e-mail addresses, the same for the table of users, the sign-in and its throttling.

Databases and Python differ in which letters they treat as equal: PostgreSQL's ``UPPER`` makes a dotless ``ı``
an ``I``, and a full-width ``ａ`` looks like an ``a``. Addresses are therefore normalised (NFKC, lower case)
before they are stored, looked up or counted, and compared exactly.
"""

from __future__ import annotations

import unicodedata

LONGEST = 254


def normalised(address: str) -> str:
    text = unicodedata.normalize("NFKC", str(address)).strip().lower()
    return unicodedata.normalize("NFKC", text)[:LONGEST]
