"""OpenAI-compatible transcription API: ``POST /v1/audio/transcriptions`` and ``GET /v1/models``."""
