"""Static files with a hash of their content in the name, so that browsers can cache them for ever."""

from __future__ import annotations

from whitenoise.storage import CompressedManifestStaticFilesStorage


class HashedStaticFilesStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc] # untyped
    """WhiteNoise's storage that also rewrites ``import`` statements of JavaScript modules.

    Otherwise modules would import each other by unhashed names, and a browser could mix old and new ones.
    """

    support_js_module_import_aggregation = True
