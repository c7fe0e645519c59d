"""Models in admin: the hosts that serve each model, and what it needs."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext_lazy as _

from batches.models import ServedModel
from batches.recognition.models.overview import ModelFacts, facts_of
from batches.recognition.models.store import ModelStore
from domains import offered_models
from speechportal.support.admin import ReadOnlyAdmin


@admin.register(ServedModel)
class ServedModelAdmin(ReadOnlyAdmin[ServedModel]):
    find_exact = ("name", "host")
    list_display = ["name", "kind", "host", "is_offered", "is_loaded", "problem", "seen_at"]
    list_filter = ["kind"]
    fields = ["name", "kind", "host", "problem", "loaded_at", "seen_at"]

    @admin.display(description=_("offered"), boolean=True)
    def is_offered(self, row: ServedModel) -> bool:
        return row.name in {*offered_models.whisper_models(), *offered_models.speaker_models()}

    @admin.display(description=_("loaded"), boolean=True)
    def is_loaded(self, row: ServedModel) -> bool:
        return row.loaded_at is not None

    def summary(self, row: ServedModel) -> list[tuple[Any, Any]]:
        facts = facts_of(row.name, ModelStore(settings.MODELS_DIR))
        return [(_("Offered"), _("Yes") if self.is_offered(row) else _("No")), *_shown(facts)]


def _shown(facts: ModelFacts) -> list[tuple[Any, Any]]:
    """Facts of this machine's copy of the model, if it has one."""
    sizes = [
        (_("Size"), facts.size),
        (_("Memory on a CPU (bfloat16)"), facts.need_on_cpu),
        (_("Memory on a CPU (float32)"), facts.need_on_cpu_float32),
        (_("Memory on a GPU"), facts.need_on_gpu),
    ]
    shown = [(label, filesizeformat(size)) for label, size in sizes if size]
    return [*shown, (_("Licence"), facts.licence or "–")]
