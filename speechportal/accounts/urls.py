"""URLs of the sign-in and of a user's own settings, and those of an account (`account_pages`)."""

from django.urls import path

from speechportal.accounts.members import views as member_views
from speechportal.accounts.privacy import views as privacy_views
from speechportal.accounts.sign_in import (
    address_verification,
    passkey_views,
    password_reset,
    resubmission,
    second_factor_views,
    security_views,
)
from speechportal.accounts.sign_in import views as sign_in_views
from speechportal.accounts.single_sign_on import account_provider_views
from speechportal.accounts.single_sign_on import views as single_sign_on_views
from speechportal.accounts.tokens import views as token_views

account_pages = [
    path("account/", member_views.member_list, name="account_members"),
    path("account/invite/", member_views.invite, name="account_invite"),
    path("account/invitations/<str:uid>/withdraw/", member_views.withdraw, name="account_withdraw"),
    path("account/members/<int:pk>/role/", member_views.change_role, name="account_role"),
    path("account/members/<int:pk>/remove/", member_views.remove, name="account_remove"),
    path("account/tokens/", token_views.token_list, name="account_tokens"),
    path("account/tokens/<str:uid>/revoke/", token_views.token_revoke, name="account_token_revoke"),
    path("account/settings/", member_views.account_settings, name="account_settings"),
    path("account/sign-in/", account_provider_views.account_provider, name="account_provider"),
    path("account/activity/", privacy_views.activity, name="account_activity"),
    path("account/privacy/", privacy_views.privacy, name="account_privacy"),
]
urlpatterns = [
    path("login/", sign_in_views.SignIn.as_view(), name="login"),
    path("logout/", single_sign_on_views.SignOut.as_view(), name="logout"),
    path("login/company/", single_sign_on_views.start, name="company_sign_in"),
    path("login/company/callback/", single_sign_on_views.callback, name="company_sign_in_callback"),
    path("login/company/connect/", single_sign_on_views.connect, name="company_sign_in_connect"),
    path("login/company/find/", account_provider_views.find, name="company_sign_in_find"),
    path("login/company/<str:account>/", single_sign_on_views.start, name="company_sign_in_to"),
    path("account/switch/", sign_in_views.switch_account, name="switch_account"),
    path("invitations/<str:token>/", member_views.accept_invitation, name="accept_invitation"),
    path("send-again/", resubmission.send_again, name="send_again"),
    path("login/passkey/", passkey_views.sign_in, name="passkey_sign_in"),
    path("login/passkey/options/", passkey_views.options, name="passkey_options"),
    path("two-factor/", second_factor_views.show_code, name="second_factor"),
    path("profile/", sign_in_views.profile, name="profile"),
    path("profile/address/", address_verification.send_verification, name="send_verification"),
    path("verify-address/<str:token>/", address_verification.verify_address, name="verify_address"),
    path("profile/security/", security_views.security, name="security"),
    path("profile/security/two-factor/", security_views.turn_on, name="two_factor_on"),
    path("profile/security/two-factor/off/", security_views.turn_off, name="two_factor_off"),
    path("profile/security/recovery-codes/", security_views.new_recovery_codes, name="recovery_codes"),
    path("profile/security/passkeys/add/", passkey_views.add, name="passkey_add"),
    path("profile/security/passkeys/add/options/", passkey_views.add_options, name="passkey_add_options"),
    path("profile/security/passkeys/<int:pk>/rename/", passkey_views.rename, name="passkey_rename"),
    path("profile/security/passkeys/<int:pk>/remove/", passkey_views.remove, name="passkey_remove"),
    path("profile/security/sessions/end/", security_views.end_sessions, name="end_sessions"),
    path("password-reset/", password_reset.AskForPassword.as_view(), name="password_reset"),
    path(
        "password-reset/<uidb64>/<token>/",
        password_reset.SetPassword.as_view(),
        name="password_reset_confirm",
    ),
    path("profile/password/", sign_in_views.ChangePassword.as_view(), name="password"),
]
