"""Formats of dates and times in each language (Django's ``FORMAT_MODULE_PATH``): ISO 8601, to the second."""

DATE = "Y-m-d"
DATETIME = "Y-m-d H:i:s"
TIME = "H:i:s"
