"""URLs of the batches app below ``/api/v1/``."""

from typing import Any

from django.urls import URLPattern, path, re_path
from rest_framework.routers import SimpleRouter

from batches.api.batches import BatchView
from batches.api.deliveries import DeliveryView, EventView, WebhookView
from batches.api.dry_runs import TrialView
from batches.api.execution_results import ExecutionResultView
from batches.api.formats import FormatView
from batches.api.tasks import TaskView
from batches.api.text_rules import TextRulesView
from batches.api.transcript_search import TranscriptSearchView
from batches.api.transcripts import TranscriptView
from batches.api.usage import AccountView, ChargeView, UsageView
from speechportal.api.views import UID

router = SimpleRouter(trailing_slash=False)
router.register("batches", BatchView, "batch")
router.register("tasks", TaskView, "task")
router.register("transcripts", TranscriptSearchView, "transcript-search")
router.register("formats", FormatView, "format")
router.register("execution-results", ExecutionResultView, "execution-result")
router.register("deliveries", DeliveryView, "delivery")
router.register("webhook-events", EventView, "webhook-event")
router.register("usage", UsageView, "usage")
router.register("charges", ChargeView, "charge")


def _webhook(below: str, method: str, action: str) -> URLPattern:
    view = WebhookView.as_view({method: action}, basename="webhook")
    return re_path(f"^batches/(?P<uid>{UID})/webhook{below}$", view, name=f"webhook-{action}")


def _transcript(below: str, actions: dict[str, Any]) -> URLPattern:
    view = TranscriptView.as_view(actions, basename="transcript")
    name = f"transcript-{actions.get('get', 'publish')}"
    return re_path(f"^tasks/(?P<uid>{UID})/{below}$", view, name=name)


def _try(below: str, action: str) -> URLPattern:
    return path(f"batches/{below}", TrialView.as_view({"post": action}, basename="trial"), name=action)


def _text_rules(below: str, action: str) -> URLPattern:
    view = TextRulesView.as_view({"post": action}, basename="text-rules")
    return re_path(f"^domains/(?P<uid>{UID})/{below}$", view, name=f"text-rules-{action}")


ACCOUNT: dict[str, Any] = {"get": "retrieve", "patch": "partial_update"}
urlpatterns = [
    path("account", AccountView.as_view(ACCOUNT, basename="account"), name="account"),
    path("account/estimate", AccountView.as_view({"get": "estimate"}, basename="account"), name="estimate"),
    _try("check", "check"),
    _try("try-webhook", "try_webhook"),
    _webhook("", "get", "retrieve"),
    _webhook("/show-secret", "post", "show_secret"),
    _webhook("/rotate-secret", "post", "rotate_secret"),
    _webhook("/resume", "post", "resume"),
    _webhook("/test", "post", "test"),
    _webhook("/redeliver", "post", "redeliver"),
    _text_rules("text-rules/try", "attempt"),
    _text_rules("text-rules/apply", "apply"),
    _transcript("transcript", {"get": "retrieve", "patch": "partial_update"}),
    _transcript("transcript/publish", {"post": "publish"}),
    _transcript("results", {"get": "results"}),
    _transcript("results/(?P<file_format>[a-z]+)", {"get": "download"}),
    _transcript("media", {"get": "media"}),
    *router.urls,
]
