"""Security notices: mails to a user when their password, second factor or sessions were changed."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from speechportal.accounts.audit.actor import Kind, current_actor
from speechportal.platform import mail
from speechportal.platform.queue import enqueue

SEND = "speechportal.accounts.sign_in.notices.send"
SENTENCES = {
    "sign_in_refused": gettext_lazy(
        "Many wrong passwords were given for your address. Further tries are refused for a while."
    ),
    "password_changed": gettext_lazy("Your password was changed."),
    "two_factor_on": gettext_lazy("Two-factor sign-in was turned on."),
    "two_factor_off": gettext_lazy("Two-factor sign-in was turned off."),
    "recovery_codes_made": gettext_lazy("New recovery codes were made; the earlier ones no longer work."),
    "recovery_code_used": gettext_lazy("A recovery code was used in place of the authenticator app."),
    "app_removed": gettext_lazy("Your authenticator app was removed; your passkeys stay."),
    "passkey_added": gettext_lazy("A passkey was added."),
    "passkey_removed": gettext_lazy("A passkey was removed."),
    "passkey_copied": gettext_lazy("A passkey was refused, because somebody may have copied it."),
}


def send_later(user_id: int, what: str) -> None:
    """Queue a notice; with the database as broker it belongs to the current transaction.

    ``what`` is one of ``SENTENCES``. The current actor supplies the author and the address.
    """
    if mail.is_set_up():
        actor = current_actor()
        is_own = actor.kind == Kind.MEMBER or actor.user_id == user_id
        by = "" if is_own else str(actor.kind)
        enqueue(SEND, user_id, what, timezone.now().isoformat(), actor.address or "", by)


def send(user_id: int, what: str, at: str, address: str, by: str) -> None:
    """Mail a notice. ``by`` is a :class:`Kind` if it was not the user. Run by the queue."""
    from speechportal.accounts.models import User

    user = User.objects.filter(pk=user_id, is_active=True).first()
    if user is None:
        return
    with translation.override(user.language or settings.LANGUAGE_CODE), timezone.override(user.zone):
        moment = timezone.localtime(datetime.fromisoformat(at)).strftime("%Y-%m-%d %H:%M %Z")
        lines = [_("When: %s") % moment]
        if address:
            lines.append(_("From: %s") % address)
        if by:
            lines.append(_("By: %s") % Kind(by).label)
        sentence = str(SENTENCES[what])
        advice = _("If this was not you, set a new password at once, and sign out everywhere else:")
        link = settings.PUBLIC_URL + reverse("password_reset")
        text = "\n".join([sentence, "", *lines, "", advice, link])
        mail.send(user.email, _("Speech Portal: %s") % sentence.rstrip("."), text)
