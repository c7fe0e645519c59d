"""openai-whisper checkpoints in Hugging Face's implementation, so that the benchmark runs the same weights.

The names are those of transformers' ``convert_openai_to_hf.py``.
"""

from __future__ import annotations

from typing import Any

import torch
from whisper.tokenizer import Tokenizer, get_tokenizer

from batches.recognition.diarization import torchaudio_compat  # noqa: F401 - transformers imports torchaudio
from batches.recognition.models.store import WhisperCheckpoint
from batches.recognition.runtime.device import GPU

_RENAMES = (
    (".blocks.", ".layers."),
    (".mlp.0.", ".fc1."),
    (".mlp.2.", ".fc2."),
    (".mlp_ln.", ".final_layer_norm."),
    (".cross_attn_ln.", ".encoder_attn_layer_norm."),
    (".cross_attn.", ".encoder_attn."),
    (".attn_ln.", ".self_attn_layer_norm."),
    (".attn.", ".self_attn."),
    (".query.", ".q_proj."),
    (".key.", ".k_proj."),
    (".value.", ".v_proj."),
    (".out.", ".out_proj."),
    ("decoder.token_embedding.", "decoder.embed_tokens."),
    (".positional_embedding", ".embed_positions.weight"),
    ("encoder.ln_post.", "encoder.layer_norm."),
    ("decoder.ln.", "decoder.layer_norm."),
)


def load(checkpoint: WhisperCheckpoint, device: str) -> tuple[Any, Any, Tokenizer]:
    """(model, feature extractor, tokenizer). Half precision on a GPU, float32 on a CPU."""
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    saved = torch.load(checkpoint.path, map_location="cpu", weights_only=True, mmap=True)
    dims = saved["dims"]
    multilingual = dims["n_vocab"] >= 51_865
    languages = dims["n_vocab"] - 51_765 - int(multilingual)
    tokenizer = get_tokenizer(multilingual, num_languages=languages)
    config = WhisperConfig(
        vocab_size=dims["n_vocab"],
        num_mel_bins=dims["n_mels"],
        d_model=dims["n_audio_state"],
        encoder_layers=dims["n_audio_layer"],
        encoder_attention_heads=dims["n_audio_head"],
        encoder_ffn_dim=4 * dims["n_audio_state"],
        decoder_layers=dims["n_text_layer"],
        decoder_attention_heads=dims["n_text_head"],
        decoder_ffn_dim=4 * dims["n_text_state"],
        max_source_positions=dims["n_audio_ctx"],
        max_target_positions=dims["n_text_ctx"],
        bos_token_id=tokenizer.eot,
        eos_token_id=tokenizer.eot,
        pad_token_id=tokenizer.eot,
        decoder_start_token_id=tokenizer.sot,
        suppress_tokens=list(tokenizer.non_speech_tokens),
        begin_suppress_tokens=[*tokenizer.encode(" "), tokenizer.eot],
    )
    config._attn_implementation = "sdpa"  # noqa: SLF001 - the constructor's types do not name it
    with torch.device("meta"):
        model: Any = WhisperForConditionalGeneration(config)
    kind = torch.float16 if device == GPU else torch.float32
    weights = {f"model.{rename(name)}": tensor.to(kind) for name, tensor in saved["model_state_dict"].items()}
    weights["proj_out.weight"] = weights["model.decoder.embed_tokens.weight"]
    model.load_state_dict(weights, strict=True, assign=True)
    _configure_generation(model.generation_config, tokenizer)
    make_extractor: Any = WhisperFeatureExtractor  # It has no types.
    extractor = make_extractor(feature_size=dims["n_mels"])
    return model.to(device).eval(), extractor, tokenizer


def rename(name: str) -> str:
    """Hugging Face's name of an openai-whisper tensor."""
    for ours, theirs in _RENAMES:
        name = name.replace(ours, theirs)
    return name


def _configure_generation(config: Any, tokenizer: Tokenizer) -> None:
    """What ``generation_config.json`` of the published models says."""
    codes = zip(tokenizer.all_language_codes, tokenizer.all_language_tokens, strict=True)
    settings = {
        "is_multilingual": tokenizer.num_languages > 0,
        "lang_to_id": {f"<|{code}|>": token for code, token in codes},
        "task_to_id": {"transcribe": tokenizer.transcribe, "translate": tokenizer.translate},
        "no_timestamps_token_id": tokenizer.no_timestamps,
        "return_timestamps": False,
        "max_length": 448,
    }
    for name, value in settings.items():
        setattr(config, name, value)  # `update` takes no names that the class lacks
