"""Everything below ``/api/v1/`` that is about batches and what comes of them."""

from django.urls import path
from rest_framework.routers import SimpleRouter

from batches.api.batches import BatchView
from batches.api.deliveries import DeliveryView, WebhookView
from batches.api.execution_results import ExecutionResultView
from batches.api.tasks import TaskView
from batches.api.usage import AccountView, ChargeView, UsageView

router = SimpleRouter(trailing_slash=False)
router.register("batches", BatchView, "batch")
router.register("tasks", TaskView, "task")
router.register("execution-results", ExecutionResultView, "execution-result")
router.register("deliveries", DeliveryView, "delivery")
router.register("usage", UsageView, "usage")
router.register("charges", ChargeView, "charge")

WEBHOOK = "batches/<str:uid>/webhook"
urlpatterns = [
    path("account", AccountView.as_view({"get": "retrieve"}), name="account"),
    path("account/estimate", AccountView.as_view({"get": "estimate"}), name="estimate"),
    path(WEBHOOK, WebhookView.as_view({"get": "retrieve"}), name="webhook"),
    path(f"{WEBHOOK}/show-secret", WebhookView.as_view({"post": "show_secret"}), name="webhook-secret"),
    path(f"{WEBHOOK}/rotate-secret", WebhookView.as_view({"post": "rotate_secret"}), name="webhook-rotate"),
    path(f"{WEBHOOK}/resume", WebhookView.as_view({"post": "resume"}), name="webhook-resume"),
    path(f"{WEBHOOK}/test", WebhookView.as_view({"post": "test"}), name="webhook-test"),
    path(f"{WEBHOOK}/redeliver", WebhookView.as_view({"post": "redeliver"}), name="webhook-redeliver"),
    *router.urls,
]
