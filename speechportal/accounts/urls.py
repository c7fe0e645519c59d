from django.contrib.auth.views import LogoutView
from django.urls import path

from speechportal.accounts import privacy_views, second_factor_views, views

urlpatterns = [
    path("login/", views.SignIn.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("account/switch/", views.switch_account, name="switch_account"),
    path("account/activity/", privacy_views.activity, name="account_activity"),
    path("account/privacy/", privacy_views.privacy, name="account_privacy"),
    path("two-factor/", second_factor_views.show_code, name="second_factor"),
    path("profile/", views.profile, name="profile"),
    path("profile/password/", views.ChangePassword.as_view(), name="password"),
]
