from django.urls import path

from batches.compat.clova import short

app_name = "clova_short"
urlpatterns = [path("stt", short.ShortSentence.as_view(), name="stt")]
