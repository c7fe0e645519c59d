"""The deliveries of one batch: below ``batches/<ID>/deliveries/``, in the namespace of batches."""

from django.urls import path

from batches.web import deliveries

urlpatterns = [
    path("", deliveries.delivery_list, name="deliveries"),
    path("test/", deliveries.send_test, name="webhook_test"),
    path("resume/", deliveries.resume, name="webhook_resume"),
    path("secret/", deliveries.show_secret, name="webhook_secret"),
    path("rotate/", deliveries.rotate_secret, name="webhook_rotate"),
    path("redeliver/", deliveries.redeliver_since, name="redeliver_since"),
    path("<str:delivery_uid>/", deliveries.delivery_detail, name="delivery"),
    path("<str:delivery_uid>/redeliver/", deliveries.redeliver, name="redeliver"),
]
