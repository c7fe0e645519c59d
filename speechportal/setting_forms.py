"""Forms of text settings, which are checked when the settings are read."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Form:
    """Form of a text setting: a pattern, and how a message describes it, with an example."""

    pattern: re.Pattern[str]
    example: str


URL = Form(re.compile(r"https?://[^\s/?#]+[^\s?#]*"), "an address such as https://portal.example.com")
HOST = Form(re.compile(r"[A-Za-z0-9._:\[\]-]+"), "a host name such as mail.example.com, without an address")
ALLOWED_HOST = Form(
    re.compile(r"\*|\.?[A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]"),
    "host names such as portal.example.com, without https:// and a port",
)
HEADER = Form(re.compile(r"[A-Za-z0-9-]+"), "the name of a header, such as X-Forwarded-Email")
PRICE = Form(re.compile(r"[0-9]{1,8}(\.[0-9]{1,4})?"), "a price with a point, such as 0.10")
CURRENCY = Form(re.compile(r"[A-Z]{3}"), "the three capital letters of a currency, such as KRW")
DEVICE = Form(
    re.compile(r"auto|cpu|cuda(:[0-9]+)?( *, *cuda:[0-9]+)*"), "auto, cpu, cuda, cuda:1 or cuda:0,cuda:1"
)
