#!/usr/bin/env python
"""Django's command line for Speech Portal."""

import io
import json
import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db import DatabaseError, InterfaceError


def main() -> None:
    """Run a command. A wrong setting or an unusable database is one line, whatever command meets it."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "speechportal.settings")
    if isinstance(sys.stdout, io.TextIOWrapper):  # No letter that the locale lacks ends a command.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        if {"doctor", "--json"} <= set(sys.argv):
            advice = "Correct the setting (help page Settings)."
            finding = {"about": "settings", "state": "bad", "sentence": str(error), "advice": advice}
            print(json.dumps({"good": False, "findings": [finding]}, indent=1, ensure_ascii=False))
        sys.exit(f"Wrong setting: {error}")
    except (DatabaseError, InterfaceError) as error:
        from speechportal.platform.database_errors import explain_in_a_line

        if "--traceback" in sys.argv or not (line := explain_in_a_line(error)):
            raise
        sys.exit(line)


if __name__ == "__main__":
    main()
