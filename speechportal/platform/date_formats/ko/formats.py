"""ISO formats, in place of those that Django has for the language."""

from speechportal.platform import date_formats

DATE_FORMAT = SHORT_DATE_FORMAT = date_formats.DATE
DATETIME_FORMAT = SHORT_DATETIME_FORMAT = date_formats.DATETIME
TIME_FORMAT = date_formats.TIME
