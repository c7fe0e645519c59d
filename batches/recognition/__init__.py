"""Recognition: a media file in, a transcript out. Whisper for the words, pyannote for the speakers.

This package imports neither Django nor anything of accounts and object storage. Models run in an engine
process (:mod:`batches.recognition.runtime.server`) that holds no secret and can be killed at any time.
"""
