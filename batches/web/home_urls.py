from django.urls import path

from batches.web import home

urlpatterns = [
    path("", home.home, name="home"),
    path("transcripts/", home.transcripts, name="transcripts"),
]
