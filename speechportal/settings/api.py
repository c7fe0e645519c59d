"""REST API: rate limit, Django REST framework and the OpenAPI document."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from speechportal.settings.installation import env

env.section = "api"
API_REQUESTS_PER_MINUTE = env.integer(
    "API_REQUESTS_PER_MINUTE", 600, minimum=1, description=_("Requests per minute of one API token.")
)
SYNC_SECONDS = env.integer(
    "SYNC_SECONDS",
    3600,
    minimum=1,
    description=_(
        "How long a synchronous request of a CLOVA or OpenAI client waits for its result, in seconds."
    ),
)
CLOVA_FETCH_SECONDS = env.integer(
    "CLOVA_FETCH_SECONDS",
    300,
    minimum=1,
    description=_("How long fetching a CLOVA client’s `url` may take, in seconds."),
)
REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["speechportal.api.parsers.StrictJsonParser"],
    "DEFAULT_AUTHENTICATION_CLASSES": ["speechportal.api.authentication.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["speechportal.api.permissions.TokenPermission"],
    "DEFAULT_PAGINATION_CLASS": "speechportal.api.pagination.CursorPages",
    "DEFAULT_SCHEMA_CLASS": "speechportal.api.schema.Description",
    "EXCEPTION_HANDLER": "speechportal.api.problems.handle",
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_METADATA_CLASS": None,
    "URL_FORMAT_OVERRIDE": None,  # No query parameter selects a format.
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Speech Portal",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SORT_OPERATIONS": False,
    "ENUM_NAME_OVERRIDES": {
        "FormatEnum": "batches.api.serializers.FORMAT_NAMES",
        "TaskState": "batches.models.Task.State",
        "DeliveryState": "batches.models.Delivery.State",
        "WebhookState": "batches.models.Webhook.State",
        "DeliveryKind": "batches.webhooks.kinds.labels",
        "RedactionAction": "domains.api_text.CHOICES",
    },
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "speechportal.api.schema.complete",
    ],
}
