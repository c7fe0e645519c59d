"""Settings of Speech Portal, read from the environment, in one module per subject.

Each setting ``NAME`` is read from ``SPEECHPORTAL_NAME`` with a typed reader of ``speechportal.env.Env`` and
its description; the help page "Settings" is made from those (``Env.settings``).

There are two modes: *embedded*, one machine with all data below ``var/`` and secrets that are generated at
the first start; and *production*, in which each secret and address must be set and every transport is
encrypted.
"""

from speechportal.settings.api import *
from speechportal.settings.batches import *
from speechportal.settings.installation import *
from speechportal.settings.members import *
from speechportal.settings.observability import *
from speechportal.settings.queue import *
from speechportal.settings.recognition import *
from speechportal.settings.web import *
