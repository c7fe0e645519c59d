"""Whisper checkpoints for tests, written in each layout that the portal reads."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor
from whisper.model import ModelDimensions, Whisper

SMALL = ModelDimensions(80, 1500, 64, 2, 2, 51865, 448, 64, 2, 2)
_TYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
_HUGGING_FACE_NAMES = (
    (".blocks.", ".layers."),
    (".cross_attn_ln.", ".encoder_attn_layer_norm."),
    (".attn_ln.", ".self_attn_layer_norm."),
    (".mlp_ln.", ".final_layer_norm."),
    (".cross_attn.", ".encoder_attn."),
    (".attn.", ".self_attn."),
    (".query.", ".q_proj."),
    (".key.", ".k_proj."),
    (".value.", ".v_proj."),
    (".out.", ".out_proj."),
    (".mlp.0.", ".fc1."),
    (".mlp.2.", ".fc2."),
    (".ln_post.", ".layer_norm."),
    ("decoder.ln.", "decoder.layer_norm."),
    (".positional_embedding", ".embed_positions.weight"),
    ("decoder.token_embedding.", "decoder.embed_tokens."),
)


def random_state(dims: ModelDimensions = SMALL, dtype: torch.dtype = torch.float16) -> dict[str, Tensor]:
    """A state dict of random weights, in openai-whisper's names."""
    torch.manual_seed(1)
    state = Whisper(dims).state_dict()
    # openai-whisper leaves this one as the memory happens to be.
    state["decoder.positional_embedding"] = torch.randn(dims.n_text_ctx, dims.n_text_state) * 0.02
    return {name: tensor.to(dtype) for name, tensor in state.items()}


def write_openai(path: Path, state: dict[str, Tensor], dims: ModelDimensions = SMALL) -> Path:
    torch.save({"dims": asdict(dims), "model_state_dict": state}, path)
    return path


def hugging_face_name(name: str) -> str:
    for ours, theirs in _HUGGING_FACE_NAMES:
        name = name.replace(ours, theirs)
    return f"model.{name}"


def write_safetensors(path: Path, state: dict[str, Tensor]) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, tensor in state.items():
        size = tensor.numel() * tensor.element_size()
        entry = {"dtype": _TYPES[tensor.dtype], "shape": list(tensor.shape)}
        header[name] = entry | {"data_offsets": [position, position + size]}
        position += size
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for tensor in state.values():
            file.write(tensor.contiguous().view(torch.uint8).numpy().tobytes())


def write_hugging_face(
    folder: Path, state: dict[str, Tensor], dims: ModelDimensions = SMALL, *, shards: int = 1
) -> Path:
    """A folder as ``save_pretrained`` writes it; with an index if there are several files."""
    folder.mkdir()
    config = {
        "model_type": "whisper",
        "num_mel_bins": dims.n_mels,
        "max_source_positions": dims.n_audio_ctx,
        "d_model": dims.n_audio_state,
        "encoder_attention_heads": dims.n_audio_head,
        "encoder_layers": dims.n_audio_layer,
        "vocab_size": dims.n_vocab,
        "max_target_positions": dims.n_text_ctx,
        "decoder_attention_heads": dims.n_text_head,
        "decoder_layers": dims.n_text_layer,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps({"alignment_heads": [[1, 0]]}))
    renamed = {hugging_face_name(name): tensor for name, tensor in state.items()}
    renamed["proj_out.weight"] = state["decoder.token_embedding.weight"]
    if shards == 1:
        write_safetensors(folder / "model.safetensors", renamed)
        return folder
    weight_map: dict[str, str] = {}
    names = list(renamed)
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        own = {name: renamed[name] for name in names[number::shards]}
        write_safetensors(folder / file, own)
        weight_map |= dict.fromkeys(own, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder
