"""The documentation: Markdown pages in ``templates/help/<language>/``, served under ``/help/``."""
