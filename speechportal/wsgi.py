"""WSGI application."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "speechportal.settings")
django.setup(set_prefix=False)

from speechportal.platform.held_responses import HoldingHandler  # noqa: E402 - settings come first
from speechportal.platform.request_bodies import BoundedBodies  # noqa: E402 - likewise

django_application = HoldingHandler()
application = BoundedBodies(django_application)
