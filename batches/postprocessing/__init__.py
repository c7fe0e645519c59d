"""Post-processing of a transcript: numbers, replacements and redaction. No Django, no files, no network.

``transcript`` applies them to a transcript, ``digits`` writes numbers as digits, ``replacements`` applies a
domain's table, ``detection`` finds sensitive data in texts, and ``measurement`` states the precision and
recall of detection.
"""
