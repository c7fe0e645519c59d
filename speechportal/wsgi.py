"""WSGI application."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "speechportal.settings")
django_application = get_wsgi_application()

from speechportal.platform.request_bodies import BoundedBodies  # noqa: E402 - it reads the settings

application = BoundedBodies(django_application)
