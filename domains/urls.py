from django.urls import path

from domains import views

app_name = "domains"
urlpatterns = [
    path("", views.domain_list, name="list"),
    path("new/", views.domain_create, name="create"),
    path("<str:uid>/", views.domain_edit, name="edit"),
    path("<str:uid>/delete/", views.domain_delete, name="delete"),
]
