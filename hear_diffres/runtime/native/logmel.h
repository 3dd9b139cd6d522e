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

inline float peak_of(const float* x, long n) {
    wide tops[4] = {};  // several, since each has to wait for itself
    long i = 0;
    for (; i + 4 * WIDE <= n; i += 4 * WIDE)
        for (int k = 0; k < 4; k++) {
            const wide a = load_as<wide>(x + i + k * WIDE);
            tops[k] = larger(tops[k], larger(a, -a));
        }
    const wide top = larger(larger(tops[0], tops[1]), larger(tops[2], tops[3]));
    float peak = 0;
    for (int l = 0; l < WIDE; l++) peak = top[l] > peak ? top[l] : peak;
    for (; i < n; i++) peak = fabsf(x[i]) > peak ? fabsf(x[i]) : peak;
    return peak;
}

// Samples under `n_frames` frames.
inline long signal_length(const FrontEnd& f, long n_frames) { return (n_frames - 1) * f.hop + FFT_SIZE; }

// Floats that `log_mel` works in: spectrum, points and samples. No place for them on the stack, which is small in
// threads of some C libraries.
const long SPECTRUM_FLOATS = (HALF + 1) * WIDE, POINTS_FLOATS = 2 * POINTS * WIDE;
inline long log_mel_floats(const FrontEnd& f) { return SPECTRUM_FLOATS + POINTS_FLOATS + signal_length(f, FRAMES); }

// `scaled` holds n + 2 samples.
inline Sound sound_of(const FrontEnd& f, const float* audio, long n, bool at_start, float* scaled) {
    Sound sound = {audio, n, at_start ? -(FFT_SIZE / 2) : (long)f.context * f.hop, 1.0f};
    if (n < 2) {  // emphasis takes one sample
        scaled[0] = n > 0 ? audio[0] : 0.0f, scaled[1] = 0;
        sound.audio = audio = scaled, sound.n = n = 2;
    }
    float peak = peak_of(audio, n);
    if (peak > SAFE_PEAK) {
        for (long i = 0; i < n; i++) scaled[i] = audio[i] / peak;
        sound.audio = scaled, sound.scale = peak;
    }
    return sound;
}

// The emphasised samples under frames [first, last), mirrored at the sound's ends, `signal_length` of them.
inline void emphasise(const FrontEnd& f, const Sound& sound, long first, long last, float* data) {
    const float* audio = sound.audio;
    const float minus = -f.preemphasis;
    const long start = sound.start + first * f.hop, m = sound.n - 1, end = start + signal_length(f, last - first);
    long inner0 = start < 0 ? 0 : start, inner1 = end < m ? end : m;
    if (inner1 < inner0) inner1 = inner0;
    // Rounded twice, as EfficientAT does: products and sums in loops of their own, so that no compiler makes one
    // operation of both.
    float products[PIECE];
    for (long i = inner0; i < inner1; i += PIECE) {
        const long count = inner1 - i < PIECE ? inner1 - i : PIECE;
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
}

// Frames [first, last) of a sound, at most FRAMES; log-mel [frame][n_mels], and its power beside it. `scratch` is
// aligned to the widest vectors.
inline void log_mel(const FrontEnd& f, const Sound& sound, long first, long last, float* scratch, float* logmel,
                    float* power) {
    wide* spectrum = (wide*)scratch;
    Complex* z = (Complex*)(scratch + SPECTRUM_FLOATS);
    float* data = scratch + SPECTRUM_FLOATS + POINTS_FLOATS;
    emphasise(f, sound, first, last, data);
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
            log_rows[l] = logmel + frame * f.n_mels, power_rows[l] = power + frame * f.n_mels;
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
                powers[j] = a + c + floor;
                logs[j] = log_of(powers[j]) + back;
            }
            store_columns(logs, log_rows, b, left), store_columns(powers, power_rows, b, left);
        }
    }
    if (sound.scale != 1.0f)
        for (long i = first * f.n_mels; i < last * f.n_mels; i++) power[i] = expf(logmel[i] < 80 ? logmel[i] : 80.0f);
}

}  // namespace
