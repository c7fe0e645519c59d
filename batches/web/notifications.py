"""Notifications page: a member's e-mail subscriptions, and the account's chat channels."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from batches.models import ChatChannel, Subscription
from batches.models.notifications import Topic
from batches.notifications import sending
from batches.services import notifications
from speechportal.accounts.access import manager_required, member_required
from speechportal.accounts.models import Membership
from speechportal.accounts.requests import PortalRequest
from speechportal.platform import mail
from speechportal.platform.forms import submit


class FrequencyForm(forms.Form):
    """Form of a member's subscriptions: a frequency for each topic."""

    def __init__(self, *args: Any, membership: Membership, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for subscription in sending.subscribe(membership):
            self.fields[subscription.topic] = forms.ChoiceField(
                label=subscription.get_topic_display(),
                choices=Subscription.Frequency.choices,
                initial=subscription.frequency,
            )


class ChannelForm(forms.Form):
    name = forms.CharField(label=gettext_lazy("Name"), max_length=100)
    service = forms.ChoiceField(label=gettext_lazy("Service"), choices=ChatChannel.Service.choices)
    url = forms.CharField(
        label=gettext_lazy("Address of the incoming webhook"),
        max_length=2000,
        widget=forms.URLInput(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy("Made in the chat service. It is stored encrypted and not shown again."),
    )
    topics = forms.MultipleChoiceField(
        label=gettext_lazy("Topics"), choices=Topic.choices, widget=forms.CheckboxSelectMultiple
    )


@member_required
def notifications_page(request: PortalRequest) -> HttpResponse:
    form = FrequencyForm(request.POST or None, membership=request.membership)
    if request.method == "POST" and form.is_valid():
        notifications.choose(membership=request.membership, frequencies=form.cleaned_data)
        messages.success(request, _("Your notifications were saved."))
        return redirect("notifications")
    return _page(request, form, ChannelForm(auto_id="channel_%s"))


@manager_required
@require_POST
def channel_add(request: PortalRequest) -> HttpResponse:
    form = ChannelForm(request.POST, auto_id="channel_%s")
    channel = submit(form, lambda: notifications.add_channel(account=request.account, **form.cleaned_data))
    if channel is None:
        return _page(request, FrequencyForm(membership=request.membership), form)
    messages.success(request, _("The channel “%s” was added.") % channel.name)
    return redirect("notifications")


@manager_required
@require_POST
def channel_remove(request: PortalRequest, uid: str) -> HttpResponse:
    channel = get_object_or_404(ChatChannel.objects.for_account(request.account), uid=uid)
    notifications.remove_channel(channel=channel)
    messages.success(request, _("The channel “%s” was removed.") % channel.name)
    return redirect("notifications")


@manager_required
@require_POST
def channel_try(request: PortalRequest, uid: str) -> HttpResponse:
    channels = ChatChannel.objects.for_account(request.account).select_related("account")
    channel = get_object_or_404(channels, uid=uid)
    try:
        notifications.try_channel(channel=channel)
    except ValidationError as error:
        messages.error(request, error.messages[0])
    else:
        messages.success(request, _("A test message was sent to “%s”.") % channel.name)
    return redirect("notifications")


def _page(request: PortalRequest, form: FrequencyForm, channel_form: ChannelForm) -> HttpResponse:
    topics = dict(Topic.choices)
    channels = ChatChannel.objects.for_account(request.account).order_by("name")
    context = {
        "form": form,
        "channel_form": channel_form,
        "channels": [
            (channel, [topics[topic] for topic in channel.topics if topic in topics]) for channel in channels
        ],
        "mail": mail.is_set_up(),
    }
    return render(request, "accounts/notifications.html", context)
