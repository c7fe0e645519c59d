#!/usr/bin/env python
"""Django's command line for Speech Portal."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "speechportal.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        # A wrong setting is one line, whatever command meets it.
        sys.exit(f"Wrong setting: {error}")
