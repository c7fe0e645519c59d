"""Recognition: turns a media file into a transcript, with Whisper for speech and pyannote for speakers.

This package imports neither Django nor any code for accounts or object storage. Models run in an engine
process (:mod:`batches.recognition.runtime.server`) that has no secrets and can be killed at any time.
"""
