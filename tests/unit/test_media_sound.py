"""Reading wavs, and the audio front ends."""

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from avsbench.errors import AvsbenchError
from avsbench.media.front_ends import FRONT_ENDS
from avsbench.media.sound import Sound, mono, read_wav
from avsbench.media.vggish_mel import fit_examples, vggish_mel

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


# examples


@pytest.mark.parametrize(
    ("samples", "examples"), [(80000, 5), (160000, 10), (77040, 5), (77039, 4), (15600, 1), (0, 0)]
)
def test_number_of_examples(samples, examples):
    assert vggish_mel(np.zeros(samples, np.int16), 16000).shape == (examples, 1, 96, 64)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_other_rates_give_the_same_number_of_examples(rate):
    assert len(vggish_mel(np.zeros((5 * rate, 2), np.int16), rate)) == 5


def test_silence_is_the_log_of_the_offset():
    np.testing.assert_allclose(vggish_mel(np.zeros(16000, np.int16), 16000), np.log(0.01), rtol=1e-6)


def test_equal_channels_count_as_one():
    one = WAVE[:, :1].repeat(20, axis=0)
    assert (vggish_mel(one, 16000) == vggish_mel(one.repeat(2, axis=1), 16000)).all()


def test_a_sound_of_an_unknown_type_is_an_error():
    with pytest.raises(AvsbenchError, match="unknown type"):
        vggish_mel(np.zeros(16000, np.uint8), 16000)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12))
def test_fitted_examples(count, frames):
    mel = np.arange(1, count + 1, dtype=np.float32)[:, None, None, None] * np.ones((1, 1, 96, 64), np.float32)
    repeat, zeros = (fit_examples(mel, frames, fill)[:, 0, 0, 0].tolist() for fill in ("repeat", "zeros"))
    assert repeat == [min(k, count) for k in range(1, frames + 1)]
    assert zeros == [k if k <= count else 0.0 for k in range(1, frames + 1)]


def test_nothing_to_repeat_is_an_error():
    none = np.zeros((0, 1, 96, 64), np.float32)
    with pytest.raises(AvsbenchError, match="too short"):
        fit_examples(none, 5, "repeat")
    assert not fit_examples(none, 5, "zeros").any()
    with pytest.raises(AvsbenchError, match="wrap"):
        fit_examples(none, 5, "wrap")


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_front_ends_give_what_they_announce(name):
    end = FRONT_ENDS[name]
    sound = Sound(np.random.default_rng(1).integers(-999, 999, (4 * 22050, 2)).astype(np.int16), 22050)
    array = end.compute([sound], 5, "repeat")
    assert array.shape == (5, *end.shape)
    assert array.dtype == np.float32
    assert (array[4] == array[3]).all(), "the fifth second is missing, so the fourth example stands for it"


def test_vggish_takes_one_sound():
    with pytest.raises(AvsbenchError, match="2 sounds"):
        FRONT_ENDS["vggish_mel"].compute([Sound(WAVE, 16000)] * 2, 5, "repeat")
