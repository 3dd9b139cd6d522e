// Samples to log-mel, as many frames at a time as a vector has lanes; hear_diffres/frontend/logmel.py says what it is.
#pragma once
#include "model.h"

namespace {

const int PIECE = 1024;
const long FRAMES = 48;  // made at a time, so that their samples stay in the cache; a multiple of the lanes
const float SAFE_PEAK = 65536.0f;  // above it a sound is divided by its peak before the FFT, as in frontend/stft.py

// What the frames are cut from: samples divided by `scale`, and where the first frame begins among them.
struct Sound {
    const float* audio;
    long n, start;
    float scale;
};

inline long mirrored(long i, long n) {
    if (n == 1) return 0;
    long period = 2 * (n - 1);
    i %= period;
    if (i < 0) i += period;
    return i < n ? i : period - i;
}

// The largest magnitude and `before`, as the bits of floats: those of NaN and infinity are larger than all others.
inline int32_t peak_bits(const float* x, long n, int32_t before) {
    auto bits_of = [](auto v) { return (typename Whole<decltype(v)>::type)v & 0x7fffffff; };
    wide_int tops[4] = {};  // several, since each has to wait for itself
    long i = 0;
    for (; i + 4 * WIDE <= n; i += 4 * WIDE)
        for (int k = 0; k < 4; k++) {
            const wide_int here = bits_of(load_as<wide>(x + i + k * WIDE));
            tops[k] = here > tops[k] ? here : tops[k];
        }
    for (int k = 0; k < 4; k++)
        for (int l = 0; l < WIDE; l++) before = tops[k][l] > before ? tops[k][l] : before;
    for (; i < n; i++) {
        int32_t here;
        memcpy(&here, x + i, 4);
        before = (here & 0x7fffffff) > before ? here & 0x7fffffff : before;
    }
    return before;
}

// Samples under `n_frames` frames.
inline long signal_length(const FrontEnd& f, long n_frames) { return (n_frames - 1) * f.hop + FFT_SIZE; }

// Floats that `log_mel` works in: spectrum, points and samples. No place for them on the stack, which is small in
// threads of some C libraries.
const long SPECTRUM_FLOATS = (HALF + 1) * WIDE, POINTS_FLOATS = 2 * POINTS * WIDE;
inline long log_mel_floats(const FrontEnd& f) { return SPECTRUM_FLOATS + POINTS_FLOATS + signal_length(f, FRAMES); }

// `room` holds n + 2 samples.
inline Sound sound_of(const FrontEnd& f, const float* audio, long n, bool at_start, float* room) {
    Sound sound = {audio, n, at_start ? -(FFT_SIZE / 2) : (long)f.context * f.hop, 1.0f};
    if (n < 2) {  // emphasis takes one sample
        room[0] = n > 0 ? audio[0] : 0.0f, room[1] = 0;
        sound.audio = room, sound.n = 2;
    }
    return sound;
}

inline void scale_down(Sound& sound, float peak, float* room) {
    for (long i = 0; i < sound.n; i++) room[i] = sound.audio[i] / peak;
    sound.audio = room, sound.scale = peak;
}

// The emphasised samples under frames [first, last), mirrored at the sound's ends, `signal_length` of them. Returns the
// peak of the samples as `peak_bits` does: between them, a sound's frames see all of it.
inline int32_t emphasise(const FrontEnd& f, const Sound& sound, long first, long last, float* data) {
    const float* audio = sound.audio;
    int32_t peak = 0;
    const float minus = -f.preemphasis;
    const long start = sound.start + first * f.hop, m = sound.n - 1, end = start + signal_length(f, last - first);
    long inner0 = start < 0 ? 0 : start, inner1 = end < m ? end : m;
    if (inner1 < inner0) inner1 = inner0;
    // Rounded twice, as EfficientAT does: products and sums in loops of their own, so that no compiler makes one
    // operation of both.
    float products[PIECE];
    for (long i = inner0; i < inner1; i += PIECE) {
        const long count = inner1 - i < PIECE ? inner1 - i : PIECE;
        peak = peak_bits(audio + i, count + 1, peak);
        for (long k = 0; k < count; k++) products[k] = audio[i + k] * minus;
        for (long k = 0; k < count; k++) data[i - start + k] = products[k] + audio[i + k + 1];
    }
    auto outside = [&](long i) {
        const long j = mirrored(i, m);
        volatile float product = audio[j] * minus;
        data[i - start] = product + audio[j + 1];
    };
    for (long i = start; i < (inner0 < end ? inner0 : end); i++) outside(i);
    for (long i = inner1 > start ? inner1 : start; i < end; i++) outside(i);
    return peak;
}

// Frames [first, last) of a sound, at most FRAMES; log-mel [frame][n_mels], and its power beside it unless that is null.
// `scratch` is aligned to the widest vectors. Returns what `emphasise` does.
inline int32_t log_mel(const FrontEnd& f, const Sound& sound, long first, long last, float* scratch, float* logmel,
                    float* power) {
    wide* spectrum = (wide*)scratch;
    Complex* z = (Complex*)(scratch + SPECTRUM_FLOATS);
    float* data = scratch + SPECTRUM_FLOATS + POINTS_FLOATS;
    const int32_t peak = emphasise(f, sound, first, last, data);
    float least = f.floor / sound.scale / sound.scale;
    wide floor = all<wide>(least > 1.17549435e-38f ? least : 1.17549435e-38f);
    wide back = all<wide>(2 * logf(sound.scale));
    for (long t = first; t < last; t += WIDE) {
        const float* rows[WIDE];
        float *log_rows[WIDE], *power_rows[WIDE];
        const int left = last - t < WIDE ? (int)(last - t) : WIDE;
        for (int l = 0; l < WIDE; l++) {
            const long frame = l < left ? t + l : last - 1;
            rows[l] = data + (frame - first) * f.hop;
            log_rows[l] = logmel + frame * f.n_mels, power_rows[l] = power ? power + frame * f.n_mels : 0;
        }
        power_spectrum(f.twiddles, rows, f.window, f.lo, f.hi, z, spectrum);
        const float* weight = f.bank;
        for (int b = 0; b < f.n_mels; b += 8) {
            wide logs[8], powers[8];
            for (int j = 0; j < 8; j++) {
                const wide* bin = spectrum + f.first[b + j];
                wide a = {}, c = {};
                int n = f.count[b + j], i = 0;
                for (; i + 2 <= n; i += 2) {
                    a = fused(bin[i], all<wide>(weight[i]), a);
                    c = fused(bin[i + 1], all<wide>(weight[i + 1]), c);
                }
                if (i < n) a = fused(bin[i], all<wide>(weight[i]), a);
                weight += n;
                logs[j] = powers[j] = a + c + floor;
            }
            to_logs<4>(logs), to_logs<4>(logs + 4);
            for (int j = 0; j < 8; j++) logs[j] = logs[j] + back;
            store_columns(logs, log_rows, b, left);
            if (power) store_columns(powers, power_rows, b, left);
        }
    }
    if (sound.scale != 1.0f && power)
        for (long i = first * f.n_mels; i < last * f.n_mels; i++) power[i] = expf(logmel[i] < 80 ? logmel[i] : 80.0f);
    return peak;
}

}  // namespace
