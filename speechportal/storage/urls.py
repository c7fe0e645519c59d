from django.urls import path

from speechportal.storage import views

app_name = "connections"
urlpatterns = [
    path("", views.connection_list, name="list"),
    path("new/", views.connection_create, name="create"),
    path("<str:uid>/", views.connection_edit, name="edit"),
    path("<str:uid>/check/", views.connection_check, name="check"),
    path("<str:uid>/delete/", views.connection_delete, name="delete"),
    path("<str:uid>/browse/", views.browse, name="browse"),
    path("<str:uid>/folders/", views.create_folder, name="create_folder"),
]
