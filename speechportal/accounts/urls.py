from django.contrib.auth.views import LogoutView
from django.urls import path

from speechportal.accounts import views

urlpatterns = [
    path("login/", views.SignIn.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("account/switch/", views.switch_account, name="switch_account"),
    path("profile/", views.profile, name="profile"),
    path("profile/password/", views.ChangePassword.as_view(), name="password"),
]
