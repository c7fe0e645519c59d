from django.urls import path

from speechportal.help import views

app_name = "help"

urlpatterns = [
    path("", views.index, name="index"),
    path("search/", views.results, name="search"),
    path("llms.txt", views.llms, name="llms"),
    path("<slug:slug>/", views.page, name="page"),
    path("<slug:language>/<slug:slug>.md", views.raw, name="raw"),
]
