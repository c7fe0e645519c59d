"""The probe of graphics cards, beside stand-ins for torch and for the driver's file."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from batches.operations import doctor
from batches.operations.doctor import Health
from batches.recognition.runtime import gpu_probe
from batches.recognition.runtime.gpu_probe import Card, GpuReport
from batches.worker import engines

NVRM = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Thu Oct 26 20:06:06 UTC 2023\nGCC version: 12\n"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build  (dvs)\n"
# As torch of CUDA 13.0 behaves on a machine whose driver is for CUDA 11.4.
OLD_DRIVER = """
import warnings
__version__ = "2.13.0+cu130"
class version: cuda = "13.0"
class cuda:
    @staticmethod
    def is_available():
        warnings.warn("CUDA initialization: The NVIDIA driver on your system is too old.")
        return False
    @staticmethod
    def init():
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).\\nUpdate it.")
"""
TWO_CARDS = """
__version__ = "2.13.0+cu130"
class version: cuda = "13.0"
class cuda:
    is_available = staticmethod(lambda: True)
    device_count = staticmethod(lambda: 2)
    get_arch_list = staticmethod(lambda: ["sm_80", "sm_90", "compute_90"])
    mem_get_info = staticmethod(lambda number: (6 * 2**30, 8 * 2**30))
    @staticmethod
    def get_device_properties(number):
        class Found: name, major, minor = f"Card {number}", 8, 6
        return Found
"""
# A V100 and a card that torch was built for; on another machine, the V100 alone.
MIXED = TWO_CARDS.replace('f"Card {number}", 8, 6', '*[("V100", 7, 0), ("A10", 8, 6)][number],')
ONLY_OLD = MIXED.replace("lambda: 2)", "lambda: 1)")
CPU_BUILD = """
__version__ = "2.13.0+cpu"
class version: cuda = None
class cuda:
    is_available = staticmethod(lambda: False)
"""


@pytest.fixture
def driver_file(tmp_path: Path) -> Path:
    return tmp_path / "version"


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, torch: str) -> None:
    """Let new processes import this instead of torch."""
    (folder / "stand-in" / "torch").mkdir(parents=True)
    (folder / "stand-in" / "torch" / "__init__.py").write_text(torch)
    monkeypatch.setenv("PYTHONPATH", str(folder / "stand-in"))


@pytest.mark.parametrize(("text", "version"), [(NVRM, "470.82.01"), (OPEN, "580.65.06"), ("{}", "")])
def test_the_driver_s_version_is_read(driver_file: Path, text: str, version: str) -> None:
    driver_file.write_text(text.format(version or "nonsense"))
    assert gpu_probe.driver_version(driver_file) == version
    assert gpu_probe.driver_version(driver_file / "none") == ""


def test_a_driver_that_is_too_old_is_named_with_the_one_that_is_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, driver_file: Path
) -> None:
    install(monkeypatch, tmp_path, OLD_DRIVER)
    driver_file.write_text(NVRM.format("470.82.01"))
    report = gpu_probe.ask(driver_file)
    assert (report.driver, report.cuda, report.cards) == ("470.82.01", "13.0", [])
    assert report.error == "The NVIDIA driver on your system is too old (found version 11040)."
    sentence, advice = report.problem()
    assert sentence == "The NVIDIA driver 470.82.01 is too old for PyTorch 2.13.0+cu130 (CUDA 13.0)."
    assert "580.65.06 or newer" in advice


def test_cards_are_described(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, driver_file: Path) -> None:
    install(monkeypatch, tmp_path, TWO_CARDS)
    driver_file.write_text(NVRM.format("580.65.06"))
    report = gpu_probe.ask(driver_file)
    assert report.cards[1] == Card(1, "Card 1", 8 * 2**30, 6 * 2**30, "8.6")
    assert report.problem() == ("", "")
    monkeypatch.setattr(gpu_probe, "driver_is_loaded", lambda: True)
    assert engines.devices("auto") == ["cuda:0", "cuda:1"]


def test_torch_that_does_not_start_is_a_report(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, driver_file: Path
) -> None:
    install(monkeypatch, tmp_path, "raise ImportError('libcudart.so.13: cannot open shared object file')")
    sentence, _advice = gpu_probe.ask(driver_file).problem()
    assert sentence.startswith("PyTorch does not start:")
    assert "libcudart.so.13" in sentence


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (GpuReport("2.13.0+cpu", "", "580.65.06"), "is a CPU build"),
        (GpuReport("2.13.0", "13.0", ""), "No NVIDIA driver"),
        (GpuReport("2.6.0", "12.4", "470.82.01"), "too old"),
        (GpuReport("2.6.0", "12.4", "535.129.03", error="no device"), "finds no graphics card: no device"),
        (GpuReport("2.6.0", "99.1", "470.82.01"), "gives no reason"),
    ],
)
def test_each_fault_has_its_sentence_and_remedy(report: GpuReport, words: str) -> None:
    sentence, advice = report.problem()
    assert words in sentence
    assert advice


def test_the_doctor_complains_only_where_a_card_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path, CPU_BUILD)
    for wanted, loaded, health in (
        ("cuda", False, Health.BAD),
        ("auto", True, Health.NOTE),
        ("auto", False, Health.GOOD),
        ("cpu", True, Health.GOOD),
    ):
        settings.RECOGNITION_DEVICE = wanted
        monkeypatch.setattr(gpu_probe, "driver_is_loaded", lambda loaded=loaded: loaded)
        (finding,) = doctor.gpu()
        assert finding.health is health, wanted


@pytest.mark.parametrize(
    ("capability", "architectures", "runs"),
    [
        ((8, 0), ["sm_80"], True),
        ((8, 9), ["sm_80", "sm_90"], True),
        ((8, 0), ["sm_86"], False),
        ((7, 0), ["sm_75", "sm_80", "compute_120"], False),
        ((12, 0), ["sm_80", "sm_90"], False),
        ((12, 0), ["sm_80", "compute_90"], True),
        ((12, 0), ["sm_100", "sm_120"], True),
        ((12, 0), ["sm_90a", "compute_90a"], False),
        ((9, 0), ["sm_90a"], True),
        ((10, 3), ["compute_100f"], True),
        ((12, 0), ["compute_100f"], False),
        ((9, 0), [], True),
    ],
)
def test_which_cards_a_build_runs_on(
    capability: tuple[int, int], architectures: list[str], runs: bool
) -> None:
    assert gpu_probe.built_for(capability, architectures) is runs


def test_of_a_mixed_machine_only_the_usable_cards_are_used(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path, driver_file: Path
) -> None:
    install(monkeypatch, tmp_path, MIXED)
    monkeypatch.setattr(gpu_probe, "driver_is_loaded", lambda: True)
    report = gpu_probe.ask(driver_file)
    assert [(card.number, card.name, card.usable) for card in report.cards] == [
        (0, "V100", False),
        (1, "A10", True),
    ]
    assert report.problem() == ("", "")
    assert engines.devices("auto") == engines.devices("cuda") == ["cuda:1"]
    for wanted, health in (("auto", Health.NOTE), ("cuda", Health.NOTE), ("cuda:0", Health.BAD)):
        settings.RECOGNITION_DEVICE = wanted
        unusable, usable = doctor.gpu()
        assert (unusable.health, usable.health) == (health, Health.GOOD)
        assert unusable.sentence.startswith(
            "Card 0 is not used: PyTorch 2.13.0+cu130 (CUDA 13.0) was not built"
        )
        assert "V100 (compute capability 7.0)" in unusable.sentence
        assert usable.sentence.startswith("Card 1: A10")


def test_cards_that_torch_was_not_built_for_are_a_problem(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path, driver_file: Path
) -> None:
    install(monkeypatch, tmp_path, ONLY_OLD)
    monkeypatch.setattr(gpu_probe, "driver_is_loaded", lambda: True)
    sentence, advice = gpu_probe.ask(driver_file).problem()
    assert "not built for V100 (compute capability 7.0)" in sentence
    assert "older CUDA" in advice
    assert engines.devices("auto")[0] == "cpu"
    assert engines.devices("cuda") == ["cuda"]
    for wanted, health in (("auto", Health.NOTE), ("cuda", Health.BAD)):
        settings.RECOGNITION_DEVICE = wanted
        (finding,) = doctor.gpu()
        assert (finding.health, finding.sentence) == (health, sentence)
    new = Card(0, "RTX 5090", 1, 1, "12.0", usable=False)
    _sentence, advice = GpuReport("2.6.0", "12.4", "580.65.06", [new], "", ["sm_80", "sm_90"]).problem()
    assert "a newer PyTorch" in advice


def test_the_doctor_names_a_model_that_the_card_s_memory_does_not_hold(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path, TWO_CARDS)
    settings.RECOGNITION_DEVICE = "cuda"
    assert [finding.health for finding in doctor.gpu()] == [Health.GOOD, Health.GOOD]
    settings.GPU_MEMORY_MB = 2048
    *_cards, finding = doctor.gpu()
    assert finding.health is Health.BAD
    assert finding.sentence.startswith("base needs")
    assert "SPEECHPORTAL_GPU_MEMORY_MB" in finding.advice
