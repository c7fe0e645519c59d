from django.urls import path

from domains import views

app_name = "domains"
urlpatterns = [
    path("", views.domain_list, name="list"),
    path("new/", views.domain_create, name="create"),
    path("<str:uid>/", views.domain_edit, name="edit"),
    path("<str:uid>/keywords.txt", views.keywords_download, {"ending": "txt"}, name="keywords_txt"),
    path("<str:uid>/keywords.csv", views.keywords_download, {"ending": "csv"}, name="keywords_csv"),
    path("<str:uid>/delete/", views.domain_delete, name="delete"),
]
