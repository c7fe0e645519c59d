"""From a media file to a transcript: openai-whisper for the words, pyannote.audio for the speakers.

This package knows nothing of Django, of accounts or of object storage. It runs in a child process
(:mod:`batches.recognition.runtime.child`) that holds no secret and can be killed at any time.
"""
