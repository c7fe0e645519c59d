from django.urls import path

from batches.web.storage_notifications import notified

urlpatterns = [path("<str:uid>/<str:token>/", notified, name="notified")]
