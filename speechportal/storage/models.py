from __future__ import annotations
from pathlib import Path
from typing import ClassVar, Self
from django.db import models
from django.utils.translation import gettext_lazy as _
from speechportal.accounts.models import Account
from speechportal.accounts.scoping import ScopedManager
from speechportal.accounts.uids import UidField
from speechportal.storage.backends.base import ObjectStore


class Connection(models.Model):
    uid = UidField("con")
    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="connections")
    name = models.CharField(max_length=100)
    provider = models.CharField(max_length=20)
    endpoint_url = models.CharField(max_length=300, blank=True)
    region = models.CharField(max_length=50, blank=True)
    bucket = models.CharField(max_length=100, blank=True)
    access_key = models.CharField(max_length=200, blank=True)
    local_folder = models.CharField(max_length=500, blank=True)
    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager()

    class Meta:
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"

    def __str__(self) -> str:
        return self.name

    def set_secret(self, s): ...
    def store(self) -> ObjectStore:
        from speechportal.storage.backends.local import LocalStore

        return LocalStore(Path(self.local_folder))
