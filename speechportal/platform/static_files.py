"""Static files under names with a hash of their content, for browsers to keep for ever."""

from __future__ import annotations

from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedStaticFilesStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc] # untyped
    """WhiteNoise's storage that also rewrites ``import`` statements of JavaScript modules.

    Otherwise a module would import the others by their plain names, and a browser could mix old and new ones.
    """

    support_js_module_import_aggregation = True
