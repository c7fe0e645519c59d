"""Post-processing of a transcript: redaction and replacements. No Django, no files, no network.

``transcript`` applies both to a transcript, ``detection`` finds sensitive data in texts, ``replacements``
applies a domain's table, and ``measurement`` states the precision and recall of detection.
"""
