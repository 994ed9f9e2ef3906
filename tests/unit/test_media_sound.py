"""Reading wavs."""

import contextlib
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from avsbench.errors import AvsbenchError
from avsbench.media.sound import Sound, mono, mono_float, read_wav

WAVE = np.random.default_rng(0).integers(-20000, 20000, (1600, 2)).astype(np.int16)


@pytest.mark.parametrize(
    ("subtype", "dtype"), [("PCM_16", "int16"), ("PCM_24", "int32"), ("FLOAT", "float32"), ("PCM_U8", "int16")]
)
def test_sound_keeps_its_subtype_rate_and_channels(subtype, dtype, tmp_path):
    soundfile.write(tmp_path / "a.wav", WAVE / 32768, 44100, subtype=subtype)
    sound = read_wav(tmp_path / "a.wav", category="dog", position=0.25)
    assert (sound.samples.dtype, sound.samples.shape, sound.rate, sound.subtype) == (dtype, (1600, 2), 44100, subtype)
    assert (sound.category, sound.position) == ("dog", 0.25)
    assert abs(mono(sound.samples) - WAVE.mean(axis=1) / 32768).max() < (0.01 if subtype == "PCM_U8" else 1e-4)


def test_16_bit_samples_are_exact(tmp_path):
    soundfile.write(tmp_path / "a.wav", WAVE, 16000, subtype="PCM_16")
    assert (read_wav(tmp_path / "a.wav").samples == WAVE).all()


def test_silence_is_every_sample_zero():
    assert Sound(np.zeros((10, 2), np.int16), 16000).silent
    assert not Sound(np.ones((10, 2), np.int16), 16000).silent


def test_missing_empty_truncated_and_foreign_files_are_named(tmp_path):
    with pytest.raises(AvsbenchError, match=r"gone\.wav: no such sound file"):
        read_wav(tmp_path / "gone.wav")
    (tmp_path / "empty.wav").write_bytes(b"")
    with pytest.raises(AvsbenchError, match=r"empty\.wav: the sound file is empty"):
        read_wav(tmp_path / "empty.wav")
    soundfile.write(tmp_path / "cut.wav", WAVE, 16000)
    data = (tmp_path / "cut.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(data[:3000])
    with pytest.raises(AvsbenchError, match=r"cut\.wav: the sound file is truncated(.|\n)*6400 bytes"):
        read_wav(tmp_path / "cut.wav")
    (tmp_path / "text.wav").write_text("no sound at all")
    with pytest.raises(AvsbenchError, match=r"text\.wav: the sound cannot be read"):
        read_wav(tmp_path / "text.wav")
    soundfile.write(tmp_path / "none.wav", WAVE[:0], 16000)
    with pytest.raises(AvsbenchError, match=r"none\.wav: the sound file holds no samples"):
        read_wav(tmp_path / "none.wav")


def test_a_wav_from_a_pipe_has_no_length_and_is_read(tmp_path):
    soundfile.write(tmp_path / "a.wav", WAVE, 16000)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(data)
    assert len(read_wav(tmp_path / "a.wav").samples) == 1600


def test_a_sound_of_an_unknown_type_is_an_error():
    with pytest.raises(AvsbenchError, match="unknown type"):
        mono(np.zeros(16000, np.uint8))
    with pytest.raises(AvsbenchError, match="unknown type"):
        mono_float(np.zeros(16000, np.uint8))


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_bit_of_a_file_counts_where_the_original_loader_reads_floats(subtype, tmp_path):
    wave = np.random.default_rng(0).uniform(-1, 1, (400, 2))
    soundfile.write(tmp_path / "a.wav", wave, 16000, subtype=subtype)
    sound = read_wav(tmp_path / "a.wav")
    plain, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    assert mono_float(sound.samples).dtype == np.float32
    np.testing.assert_allclose(mono_float(sound.samples), plain.mean(axis=1), rtol=0, atol=1e-7)
    # The loaders of log-mel read 16 bits.
    np.testing.assert_allclose(mono(sound.samples), wave.mean(axis=1), rtol=0, atol=1.01 / 32768)


# anything at all


@st.composite
def wav_bytes(draw):
    """A wav in which some fields of the header lie, and which may be cut."""

    def mostly(good, *odd):
        return draw(st.sampled_from([good] * 8 + list(odd)))

    channels = mostly(draw(st.sampled_from([1, 2])), 0, 3, 255, 1024, 65535)
    bits = mostly(draw(st.sampled_from([8, 16, 24, 32])), 0, 1, 4, 12, 64, 65535)
    rate = mostly(16000, 0, 1, 2**31, 2**32 - 1)
    kind = mostly(draw(st.sampled_from([1, 1, 1, 2, 3, 6, 7, 17, 49])), 85, 0xFFFE, 0, 65535)
    align = mostly(channels * bits // 8 % 65536, 0, 1, 65535)
    form = struct.pack("<HHIIHH", kind, channels, rate, rate * align % 2**32, align, bits)
    data = draw(st.binary(max_size=200))
    length = mostly(len(data), len(data) + 1, len(data) // 2, 0, 0x7FFFFFFF, 0xFFFFFFFF)
    parts = [
        b"fmt " + struct.pack("<I", mostly(16, 18, 40, 0, 2**31)) + form,
        mostly(b"", b"LIST\4\0\0\0INFO", b"junk\xff\xff\xff\xff", b"fact\4\0\0\0\0\0\0\x80"),
        b"data" + struct.pack("<I", length) + data,
    ]
    if mostly(False, True):
        parts = draw(st.permutations(parts))
    whole = mostly(b"RIFF", b"RIFX", b"RF64") + struct.pack("<I", mostly(36 + len(data), 0, 2**32 - 1)) + b"WAVE"
    whole += b"".join(parts)
    return whole[: mostly(len(whole), draw(st.integers(0, len(whole))))]


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    return tmp_path_factory.mktemp("strange") / "strange.wav"


@settings(max_examples=400, deadline=None)
@given(wav_bytes() | st.binary(max_size=300))
def test_no_file_is_an_unhandled_exception(strange, content):
    strange.write_bytes(content)
    with contextlib.suppress(AvsbenchError):
        sound = read_wav(strange)
        assert len(sound.samples) > 0
        assert sound.samples.ndim == 2
        assert sound.rate > 0
        assert np.isfinite(sound.samples).all()
