"""What members enter about a connection."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from speechportal.accounts.models import Account
from speechportal.storage import local_folders
from speechportal.storage.errors import StorageError
from speechportal.storage.models import Connection
from speechportal.storage.providers import SITES, Provider


class ConnectionForm(forms.ModelForm[Connection]):
    help_topics: ClassVar[dict[str, str]] = {
        "provider": "storages#kinds",
        "endpoint_url": "storages#endpoint-and-region",
        "root_path": "storages#bucket-and-root-path",
        "access_key": "storages#what-the-access-key-must-be-allowed-to-do",
        "local_folder": "storages#local-folders",
    }
    secret = forms.CharField(
        label=_("Secret"),
        required=False,
        strip=True,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    local_folder = forms.CharField(label=_("Folder"), required=False, max_length=400)

    class Meta:
        model = Connection
        fields = ["provider", "name", "region", "endpoint_url", "bucket", "root_path", "access_key"]
        help_texts = {
            "region": _("Such as kr-standard or ap-northeast-2; left empty, the first one of the storage."),
            "endpoint_url": _(
                "The storage’s address. NAVER Cloud Platform and Amazon have one for each region: leave it"
                " empty for that."
            ),
        }

    field_order = (
        *("provider", "name", "region", "endpoint_url", "bucket", "root_path", "access_key", "secret"),
        "local_folder",
    )

    def __init__(self, *args: Any, account: Account, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.account = account
        self.account = account
        exists = self.instance.pk is not None
        self._choose_provider(exists=exists)
        self._choose_folder(exists=exists)
        if exists:
            self.fields["secret"].help_text = _("It is never shown. Leave it empty to keep it as it is.")
        for name in ("endpoint_url", "bucket", "root_path", "access_key", "region", "local_folder"):
            self.fields[name].widget.attrs.update(
                spellcheck="false", autocapitalize="off", autocomplete="off"
            )
        self.fields["region"].widget.attrs["list"] = "regions"
        self.fields["endpoint_url"].widget.attrs["list"] = "endpoints"

    def _choose_provider(self, *, exists: bool) -> None:
        field = self.fields["provider"]
        assert isinstance(field, forms.TypedChoiceField)  # noqa: S101 - a model field with choices
        local = bool(settings.STORAGE_LOCAL_ROOTS) or self.instance.is_local
        field.choices = [(each.value, each.label) for each in Provider if each.is_s3 or local]
        field.disabled = exists  # The files would be somewhere else: that is another connection.

    def _choose_folder(self, *, exists: bool) -> None:
        field = self.fields["local_folder"]
        root = local_folders.member_root(self.account.uid)
        field.help_text = _("A folder of the account on the portal’s machine. It is made if there is none.")
        if not exists or not self.instance.is_local:
            return
        folder = self.instance.local_folder
        if root is not None and folder.startswith(f"{root}/"):
            self.initial["local_folder"] = folder.removeprefix(f"{root}/")
        else:
            self.initial["local_folder"] = folder
            field.disabled = True
            field.help_text = _("The operator has chosen this folder.")

    @property
    def sites(self) -> list[dict[str, str]]:
        """Regions and addresses to pick from."""
        return [
            {"provider": provider.value, "region": site.region, "endpoint": site.endpoint_url}
            for provider, sites in SITES.items()
            for site in sites
        ]

    def clean_local_folder(self) -> str:
        path: str = self.cleaned_data["local_folder"]
        if self.cleaned_data.get("provider") != Provider.LOCAL:
            return ""
        if self.fields["local_folder"].disabled:
            return self.instance.local_folder
        if not path.strip("/ "):
            raise ValidationError(_("Enter the folder."))
        try:
            return str(local_folders.member_folder(self.account.uid, path))
        except StorageError as error:
            raise ValidationError(str(error)) from error

    def _post_clean(self) -> None:
        # The service validates, and knows the secret; the form would not.
        pass
