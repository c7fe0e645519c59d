"""One spelling of each e-mail address, for the table of users, the sign-in and what limits it alike.

Databases and Python differ in what they take for the same letter: to PostgreSQL's ``UPPER`` a dotless ``ı``
is an ``i``, and a full-width ``ａ`` looks like an ``a``. Addresses are therefore normalised (NFKC, lower
case) before they are stored, looked up or counted, and compared exactly.
"""

from __future__ import annotations

import unicodedata

LONGEST = 254


def normalised(address: str) -> str:
    text = unicodedata.normalize("NFKC", str(address)).strip().lower()
    return unicodedata.normalize("NFKC", text)[:LONGEST]
