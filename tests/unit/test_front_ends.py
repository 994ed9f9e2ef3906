"""The audio front ends: their registry, and the rules for sound that is short, long, fast, wide or several."""

import subprocess
import sys

import librosa
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from avsbench import cards, digest
from avsbench.errors import AvsbenchError
from avsbench.media.clip_sound import ClipSound, middle
from avsbench.media.front_ends import FRONT_ENDS, cavp, module_of
from avsbench.media.log_mel import mel_matrix
from avsbench.media.resample import soxr_hq, windowed_sinc
from avsbench.media.sound import Sound, mono_float, read_wav
from avsbench.media.vggish_mel import VGGISH, fit_examples, vggish_mel

NAMES = {
    "vggish_mel", "combo_mel", "msai_256", "msai_512", "msai_1024", "audioclip_wave", "clap_wave",
    "cavp_mel", "cavp_mel_reference", "cavp_mel_stereo", "cavp_mel_stereo_reference", "robust_mel",
}  # fmt: skip
EXAMPLES = ("vggish_mel", "combo_mel", "msai_256", "msai_512", "msai_1024")
CAVP = tuple(sorted(name for name in NAMES if name.startswith("cavp")))


def noise(seconds, rate=16000, channels=1, seed=0, **about):
    samples = np.random.default_rng(seed).integers(-9999, 9999, (round(seconds * rate), channels))
    return Sound(samples.astype(np.int16), rate, **about)


def compute(name, *sounds, frames=5, **about):
    return FRONT_ENDS[name].compute(ClipSound(list(sounds), frames, **about))


# registry


def test_the_front_ends_of_the_house():
    assert set(FRONT_ENDS) == NAMES
    assert len(FRONT_ENDS) == len(NAMES)
    for name in NAMES:
        assert FRONT_ENDS[name].name == name
        assert module_of(name).endswith(name.partition("_")[0])


@pytest.mark.parametrize("name", ["vgish_mel", "vggish", "", "msai_128", "..", "log_mel"])
def test_an_unknown_name_is_a_key_error(name):
    assert name not in FRONT_ENDS
    with pytest.raises(AvsbenchError, match="unknown front end"):
        cards.known(name, FRONT_ENDS, "here", "front end")


def test_one_family_is_imported_for_one_front_end():
    code = (
        "import sys; from avsbench.media.front_ends import FRONT_ENDS, module_of; module_of('msai_256');"
        "assert 'numpy' not in sys.modules; FRONT_ENDS['cavp_mel'];"
        "print([m for m in sys.modules if m.startswith('avsbench.media.front_ends.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['avsbench.media.front_ends.cavp']"


def test_a_digest_covers_the_families_it_computes_alone():
    covered: dict = {}
    digest._collect("avsbench.store.audio", covered, digest.PLUMBING | digest.CHOSEN)
    assert "avsbench.media.front_ends" in covered
    assert not [name for name in covered if name.startswith("avsbench.media.front_ends.")]
    assert not [name for name in covered if name in ("avsbench.media.vggish_mel", "avsbench.media.resample")]


# shapes, rates, channels


@pytest.mark.parametrize("still", [False, True])
@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_front_end_gives_what_it_announces(name, still):
    frames = 1 if still else 5
    array = compute(name, noise(4, 22050, channels=2), frames=frames, still=still)
    assert array.shape == (frames, *FRONT_ENDS[name].frame_shape(still))
    assert array.dtype == np.float32
    if not still and name in EXAMPLES:
        assert np.array_equal(array[4], array[3]), "the fifth second is missing, so the fourth example stands for it"


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (11025, 2), (44100, 2), (48000, 6), (44099, 1)])
def test_any_rate_and_any_channels(name, rate, channels):
    seconds = 5
    time = np.arange(seconds * rate) / rate
    tone = 9000 * np.sin(2 * np.pi * 440 * time)
    plain = Sound(
        np.round(9000 * np.sin(2 * np.pi * 440 * np.arange(seconds * 16000) / 16000)).astype(np.int16)[:, None], 16000
    )
    wide = Sound(np.round(np.repeat(tone[:, None], channels, 1)).astype(np.int16), rate)
    found, expected = compute(name, wide), compute(name, plain)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.97


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize("subtype", ["PCM_24", "FLOAT", "DOUBLE", "PCM_32"])
def test_other_subtypes_give_what_16_bits_give(name, subtype, tmp_path):
    wave = noise(5).samples / 32768
    arrays = []
    for kind in ("PCM_16", subtype):
        soundfile.write(tmp_path / f"{kind}.wav", wave, 16000, subtype=kind)
        arrays.append(compute(name, read_wav(tmp_path / f"{kind}.wav")))
    np.testing.assert_allclose(arrays[0], arrays[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_opposite_channels_are_silence(name):
    samples = noise(5).samples
    array = compute(name, Sound(np.hstack([samples, -samples]), 16000))
    silence = compute(name, Sound(np.zeros((80000, 1), np.int16), 16000))
    assert np.array_equal(array, silence)


def test_loud_floats_are_an_error_and_no_infinity():
    with pytest.raises(AvsbenchError, match="cavp_mel: wrong result"), np.errstate(all="ignore"):
        compute("cavp_mel", Sound(np.full((80000, 1), 1e30, np.float32), 16000))


def test_no_sound_and_no_rule_are_errors():
    with pytest.raises(AvsbenchError, match="without sound"):
        ClipSound([], 5)
    with pytest.raises(AvsbenchError, match="'wrap'"):
        ClipSound([noise(1)], 5, fill="wrap")


# examples of VGGish and its relatives


@pytest.mark.parametrize(
    ("samples", "examples"), [(80000, 5), (160000, 10), (77040, 5), (77039, 4), (15600, 1), (0, 0)]
)
def test_number_of_examples(samples, examples):
    assert vggish_mel(np.zeros(samples, np.int16), 16000).shape == (examples, 1, 96, 64)


@pytest.mark.parametrize(
    ("name", "fewest", "most"),
    [("msai_256", 76896, 92255), ("vggish_mel", 77040, 92399), ("msai_512", 77152, 92511), ("msai_1024", 77664, 93023)],
)
def test_sample_counts_for_five_examples(name, fewest, most):
    # A sixth frame tells whether there was a sixth example: it repeats the fifth otherwise.
    for samples, five in ((fewest, True), (fewest - 1, False), (most, True), (most + 1, False)):
        array = compute(name, noise(samples / 16000), frames=7)
        changes = 1 + sum(not np.array_equal(array[k], array[k + 1]) for k in range(6))
        assert (changes == 5) == five, samples


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12))
def test_fitted_examples(count, frames):
    mel = np.arange(1, count + 1, dtype=np.float32)[:, None, None, None] * np.ones((1, 1, 96, 64), np.float32)
    repeat, zeros = (fit_examples(mel, frames, fill)[:, 0, 0, 0].tolist() for fill in ("repeat", "zeros"))
    assert repeat == [min(k, count) for k in range(1, frames + 1)]
    assert zeros == [k if k <= count else 0.0 for k in range(1, frames + 1)]


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_tenth_of_a_second(name):
    short = noise(0.1)
    assert not compute(name, short, fill="zeros").any(), "the value 0, not the -4.6 of silence"
    with pytest.raises(AvsbenchError, match="too short for a single"):
        compute(name, short, fill="repeat")


@pytest.mark.parametrize("name", EXAMPLES)
def test_sound_beyond_the_frames_is_cut_and_said(name):
    clip = ClipSound([noise(7)], 5)
    assert np.array_equal(FRONT_ENDS[name].compute(clip), compute(name, noise(7), frames=7)[:5])
    assert clip.notes == ["the sound goes on after the 5 frames; what follows is cut"]


def test_silence_is_the_log_of_the_offset():
    np.testing.assert_allclose(vggish_mel(np.zeros(16000, np.int16), 16000), np.log(0.01), rtol=1e-6)


def test_the_lowest_band_of_the_shortest_window_holds_nothing():
    assert (compute("msai_256", noise(5))[..., 0] == np.float32(np.log(0.01))).all()


def test_combo_and_vggish_are_one_recipe_and_computed_once():
    clip = ClipSound([noise(5, 44100)], 5)
    assert FRONT_ENDS["vggish_mel"].compute(clip) is FRONT_ENDS["combo_mel"].compute(clip)


def test_equal_channels_count_as_one():
    one = noise(2).samples
    assert np.array_equal(vggish_mel(one, 16000), vggish_mel(one.repeat(2, axis=1), 16000))


def test_bands_do_not_reach_beyond_their_edges():
    hertz = np.linspace(0, 8000, VGGISH.fft // 2 + 1)
    for slopes, lowest, highest in (("mel", 125, 7500), ("hertz", 125, 3800)):
        weights = mel_matrix(VGGISH.fft, lowest, highest, slopes).sum(axis=1)
        assert not weights[(hertz <= lowest) | (hertz >= highest)].any()
        assert (weights > 0).sum() == ((hertz > lowest) & (hertz < highest)).sum()


# several sources, still pictures


def still(name, *sounds):
    return compute(name, *sounds, frames=1, still=True)


@pytest.mark.parametrize("name", ["cavp_mel", "vggish_mel", "audioclip_wave", "cavp_mel_reference"])
def test_sources_add_up(name):
    first, second = noise(10, seed=1), noise(10, seed=2)
    both = Sound(first.samples + second.samples, 16000)
    assert np.abs(first.samples.astype(int) + second.samples).max() < 32768
    np.testing.assert_allclose(still(name, first, second), still(name, both), rtol=0, atol=1e-4)
    np.testing.assert_allclose(compute(name, first, second, frames=10), compute(name, both, frames=10), atol=1e-4)


def test_sources_of_different_rates_and_lengths_meet_in_the_middle():
    tone = {
        rate: Sound(
            (9000 * np.sin(2 * np.pi * 440 * (np.arange(seconds * rate) / rate))).astype(np.int16)[:, None], rate
        )
        for rate, seconds in ((44100, 10), (16000, 3))
    }
    assert still("vggish_mel", *tone.values()).shape == (1, 1, 96, 64)
    assert still("audioclip_wave", *tone.values()).shape == (1, 44100)
    longer = compute("vggish_mel", noise(5, seed=1), noise(3, seed=2), frames=5)
    assert np.array_equal(longer[4], compute("vggish_mel", noise(5, seed=1), frames=5)[4])


def test_a_still_picture_hears_the_middle():
    sound = noise(10)
    part = Sound(sound.samples[56000:104000], 16000)
    for name in sorted(NAMES):
        atol = 4e-5 if name == "clap_wave" else 1e-6  # one step of 16 bits
        np.testing.assert_allclose(still(name, sound), still(name, part), rtol=0, atol=atol, err_msg=name)
    start = 80000 - 15600 // 2
    assert np.array_equal(still("vggish_mel", sound), vggish_mel(sound.samples[start : start + 15600], 16000))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(1, 40))
def test_the_middle(count, length):
    found = middle(np.arange(count), length)
    assert len(found) == length
    first = max(0, count // 2 - length // 2)
    assert found.tolist() == [first + k % min(length, count - first) for k in range(length)]


@pytest.mark.parametrize(("position", "gains"), [(0.0, (1, 0)), (1.0, (0, 1)), (0.25, (0.75, 0.25)), (0.5, (0.5, 0.5))])
def test_a_source_is_heard_from_its_place(position, gains):
    sound = noise(10, position=position)
    found = still("cavp_mel_stereo", sound)
    for channel, gain in enumerate(gains):
        scaled = np.float32(gain) * mono_float(sound.samples)[56000:104000]
        np.testing.assert_allclose(found[0, channel], cavp.log_mel(scaled, 300), rtol=0, atol=1e-6)


def test_swapped_places_swap_the_channels():
    left, right = noise(10, seed=1, position=0.2), noise(10, seed=2, position=0.9)
    mirrored = [noise(10, seed=1, position=0.8), noise(10, seed=2, position=0.1)]
    found, swapped = still("cavp_mel_stereo", left, right), still("cavp_mel_stereo", *mirrored)
    np.testing.assert_allclose(found, swapped[:, ::-1], rtol=0, atol=1e-5)


# windows of CAVP


def ramp(samples, frames, **about):
    return np.arange(samples, dtype=np.float32), ClipSound([noise(1)], frames, **about)


@pytest.mark.parametrize(("seconds", "frames"), [(5, 5), (10, 10), (12, 10)])
def test_aligned_windows_are_the_seconds(seconds, frames):
    wave, clip = ramp(seconds * 16000, frames)
    assert np.array_equal(cavp.aligned_windows(wave, clip), wave[: frames * 16000].reshape(frames, 16000))


def test_aligned_windows_of_a_short_sound():
    wave, clip = ramp(40000, 4)
    found = cavp.aligned_windows(wave, clip).ravel()
    assert np.array_equal(found[:40000], wave)
    assert np.array_equal(found[40000:], np.concatenate([wave[24000:], wave[24000:32000]]))
    wave, clip = ramp(40000, 4, fill="zeros")
    found = cavp.aligned_windows(wave, clip).ravel()
    assert np.array_equal(found[:40000], wave)
    assert not found[40000:].any()
    tiny, clip = ramp(1600, 5)
    assert np.array_equal(cavp.aligned_windows(tiny, clip).ravel(), np.tile(tiny, 50))


@pytest.mark.parametrize(
    ("dataset", "split", "starts"),
    [
        ("s4", "test", [2.5, 4.5, 4.0, 3.5, 3.0]),
        ("ms3", "test", [2.5, 4.5, 4.0, 3.5, 3.0]),
        ("ms3", "train", [2.5, 3.5, 4.5, 3.0, 4.0]),
        ("avss", "train", [2.5, 3.5, 4.5, 3.0, 4.0]),
    ],
)
def test_where_the_reference_listens_in_a_clip_of_five_seconds(dataset, split, starts):
    clip = ClipSound.of(cards.dataset(dataset), [noise(5)], 5, split)
    windows = cavp.reference_windows(np.arange(80000), clip)
    assert windows.shape == (5, 16000)
    assert (windows[:, 0] / 16000).tolist() == starts


def test_ten_seconds_are_the_same_in_both_crops():
    sound = noise(10)
    clip = ClipSound.of(cards.dataset("avss"), [sound], 10)
    assert np.array_equal(FRONT_ENDS["cavp_mel"].compute(clip), FRONT_ENDS["cavp_mel_reference"].compute(clip))


@pytest.mark.parametrize("name", CAVP)
@pytest.mark.parametrize("still", [False, True])
def test_cavp_takes_a_tenth_of_a_second(name, still):
    assert np.ptp(compute(name, noise(0.1), frames=1 if still else 5, still=still)) > 0


# AudioCLIP


@pytest.mark.parametrize(
    ("rate", "subtype"), [(16000, "PCM_16"), (48000, "PCM_24"), (22050, "FLOAT"), (44100, "PCM_16")]
)
def test_audioclip_hears_what_librosa_loads(rate, subtype, tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(5, rate, channels=2).samples / 32768, rate, subtype=subtype)
    wave, _ = librosa.load(tmp_path / "a.wav", sr=44100, mono=True)
    found = compute("audioclip_wave", read_wav(tmp_path / "a.wav"))
    np.testing.assert_allclose(found.ravel(), wave[: 5 * 44100], rtol=0, atol=1e-7)
    assert 0.2 < np.abs(found).max() < 1, "in -1..1, not times 32768"


def test_audioclip_repeats_the_last_44100_samples():
    sound = noise(3.4, 44100)
    wave = mono_float(sound.samples)
    found = compute("audioclip_wave", sound)
    assert np.array_equal(found[:3].ravel(), wave[: 3 * 44100])
    assert all(np.array_equal(second, wave[-44100:]) for second in found[3:])
    assert np.array_equal(
        compute("audioclip_wave", noise(6, 44100)).ravel(), mono_float(noise(6, 44100).samples)[:220500]
    )


def test_audioclip_fills_a_second_with_a_shorter_sound():
    sound = noise(0.1, 44100)
    assert np.array_equal(compute("audioclip_wave", sound), np.tile(mono_float(sound.samples), (5, 10)))


# resampling


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.sampled_from([8000, 16000, 22050, 44100, 48000, 44099]))
def test_lengths_after_resampling(samples, rate):
    wave = np.ones(samples, np.float32)
    for resample in (windowed_sinc, soxr_hq):
        found = resample(wave, rate, 16000)
        assert len(found) == -(-samples * 16000 // rate)
        assert found.dtype == np.float32


def test_a_tone_survives_resampling():
    for rate in (22050, 44100, 48000, 8000):
        tone, expected = (np.sin(2 * np.pi * 1000 * np.arange(r) / r).astype(np.float32) for r in (rate, 16000))
        for resample in (windowed_sinc, soxr_hq):
            assert np.abs(resample(tone, rate, 16000) - expected)[200:-200].max() < 2e-3, (resample, rate)
