"""Help pages: Markdown in ``templates/help/<language>/``, served under ``/help/``."""
