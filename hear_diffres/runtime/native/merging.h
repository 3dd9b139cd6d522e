// DiffRes on blocks of frames: score, share out, merge; hear_diffres/compression/ says what each step is.
#pragma once
#include "logmel.h"

namespace {

const float EPSILON = 1e-12f, LEAST_IMPORTANCE = 1e-4f;

// What the backbone sees is a picture, channels last: a row per bin, of (bands + 2) pixels of 3 channels, borders 0. It is
// made row by row and goes into the first layer at once; this is what stays of its bins.
struct Bins {
    long count;
    float* weight;     // frames in each bin
    double* times_ms;  // centres of the bins
};

const long RING = 18;  // rows of the picture that there are at a time

inline long picture_pitch(const Merging& m) { return (long)(m.bands + 2) * 3; }

// `n_bins` of compression/base.py.
inline long share_of(double share, long frames) {
    if (share == 1.0) return frames;
    const long kept = (long)floor((double)frames * share + 1e-9);
    return kept < 1 ? 1 : kept > frames ? frames : kept;
}

inline long bins_of(const Merging& m, long frames) {
    return share_of(m.keep, frames);
}

inline long blocks_of(const Merging& m, long frames) { return (frames + m.block_frames - 1) / m.block_frames; }

// How many of `frames` share bins: a block's, or all, where they are what is left of a sound.
inline long span_of(const Merging& m, long frames) { return m.stay < 1 && m.keep < 1 ? frames : m.block_frames; }

inline long spans_of(const Merging& m, long frames) {
    const long span = span_of(m, frames);
    return (frames + span - 1) / span;
}

inline long total_bins(const Merging& m, long frames) {
    const long span = span_of(m, frames), full = frames / span, rest = frames % span;
    return full * bins_of(m, span) + (rest ? bins_of(m, rest) : 0);
}

// Neighbouring bands' mean power, in place of the picture of all bands.
inline void merge_bands(const Merging& m, int n_mels, long frames, const float* power, float* logs, float* merged) {
    int group = n_mels / m.bands;
    for (long i = 0; i < frames * m.bands; i++) {
        float s = 0;
        for (int g = 0; g < group; g++) s += power[i * group + g];
        merged[i] = s / group + EPSILON;
    }
    in_vectors(frames * m.bands, [&](auto kind, long i) {
        store_as(logs + i, log_of(load_as<decltype(kind)>(merged + i)));
    });
}

// Five frames `step` apart, `before` and `after` the present one as many as there are, times a weight per channel.
template <typename V>
inline V neighbours(const float* h, long step, int before, int after, const V taps[5]) {
    V s = {};
    for (int k = -before; k <= after; k++) s = fused(load_as<V>(h + k * step), taps[k + 2], s);
    return s;
}

// Importance of the frames of one block, `[n]`, from its log-mel `[n][bands]`. `h` and `mixed` hold n x width floats.
inline void importance(const Merging& m, const float* logmel, long n, float* h, float* mixed, float* out) {
    if (!m.width) {
        for (long t = 0; t < n; t++) out[t] = 0.5f;
        return;
    }
    const int w = m.width;
    Rows from = {(float*)logmel, m.bands, 1, m.bands}, hidden = {h, w, 1, w}, between = {mixed, w, 1, w};
    gemm(from, n, m.bands, m.reduce.packed, hidden, w, HARDSWISH, {m.reduce.bias, 0});
    for (int layer = 0; layer < 2; layer++) {
        int step = layer ? 4 : 1;
        const long pitch = (long)step * w, inner = n - 2 * step;
        in_vectors(w, [&](auto kind, long c) {
            typedef decltype(kind) V;
            V taps[5];
            for (int k = 0; k < 5; k++) taps[k] = load_as<V>(m.taps + (layer * 5 + k) * w + c);
            auto at_an_end = [&](long t) {
                const long before = t / step, after = (n - 1 - t) / step;  // taps that there are frames for
                const int least = before < 2 ? (int)before : 2, most = after < 2 ? (int)after : 2;
                store_as(mixed + t * w + c, neighbours(h + t * w + c, pitch, least, most, taps));
            };
            long t = 0;
            for (; t < n && t < 2 * step; t++) at_an_end(t);
            for (; t < inner; t++) store_as(mixed + t * w + c, neighbours(h + t * w + c, pitch, 2, 2, taps));
            for (; t < n; t++) at_an_end(t);
        });
        gemm(between, n, w, m.mix[layer].packed, hidden, w, HARDSWISH, {m.mix[layer].bias, h});
    }
    for (long t = 0; t < n; t++) {
        v8 s = splat(0.0f);
        for (int c = 0; c < w; c += LANES) s = fused(load(h + t * w + c), load(m.score + c), s);
        out[t] = sum(s) + m.score[w];
    }
    long t = 0;
    for (; t + LANES <= n; t += LANES) store(out + t, logistic(load(out + t)));
    for (; t < n; t++) out[t] = 1.0f / (1.0f + expf(-out[t]));
}

static int descending(const void* a, const void* b) {
    double x = *(const double*)a, y = *(const double*)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

// Importances to scores that sum to `bins`, none above 1: compression/scores.py. `ranked` holds 2 n numbers.
inline void water_filling(const float* p, long n, long bins, double* ranked, double* score) {
    double *rest = ranked + n, most = 0, all = 0;
    for (long t = 0; t < n; t++) {
        score[t] = ranked[t] = p[t] > LEAST_IMPORTANCE ? p[t] : LEAST_IMPORTANCE;
        most = score[t] > most ? score[t] : most, all += score[t];
    }
    if (bins * most < all) {  // none is capped, as for nearly every block
        for (long t = 0; t < n; t++) score[t] *= bins / all;
        return;
    }
    qsort(ranked, n, sizeof(double), descending);
    double tail = 0;
    for (long t = n; t-- > 0;) rest[t] = tail += ranked[t];
    long full = 0;
    while (full < n && (double)(bins - full) * ranked[full] >= rest[full]) full++;
    double least = full ? ranked[full - 1] : INFINITY;  // of those that are capped
    long above = 0;
    for (long t = 0; t < n; t++) above += score[t] > least;
    long ties = full - above;  // equal ones are capped in order, as many as there were
    double total = 0;
    for (long t = 0; t < n; t++) {
        bool capped = score[t] > least || (score[t] == least && ties-- > 0);
        if (capped) score[t] = -1;
        else total += score[t];
    }
    double scale = (double)(bins - full) / (total > 0 ? total : 1.0);
    for (long t = 0; t < n; t++) score[t] = score[t] < 0 ? 1.0 : fmin(1.0, scale * score[t]);
}

struct MergeScratch {
    float *h, *mixed, *raw, *sums;  // sums: 3 bands of the largest, the mean and the code of a bin
    double *ranked, *score, *cum;
};

inline void put_bin(const Merging& m, const FrontEnd& f, const float* mean, const float* largest, const float* code,
                    float* row) {
    const float inverse = (float)(1.0 / m.keep), scale = 1.0f / f.scale;
    in_vectors(m.bands, [&](auto kind, long b) {
        typedef decltype(kind) V;
        V x[2] = {load_as<V>(mean + b) + EPSILON, load_as<V>(largest + b) * inverse + EPSILON};
        to_logs<2>(x);
        store_pixels(row + 3 + b * 3, (x[0] + f.shift) * scale, (x[1] + f.shift) * scale, load_as<V>(code + b));
    });
}

// A span of `n` frames, the first being frame `start` of the chunk, into bins from `bin` on. `weight`: times the
// importances, or null. Of the picture `row_of(bin)` is where a row goes, its borders being 0 already, and `filled(bin)`
// takes it.
template <typename RowOf, typename Filled>
inline void merge_span(const Merging& m, const FrontEnd& f, const float* logmel, const float* power, const float* weight,
                       long start, long n, long bin, const MergeScratch& s, Bins& out, RowOf row_of, Filled filled) {
    const long bins = bins_of(m, n);
    logmel += start * m.bands;
    if (m.keep == 1.0) {
        const float scale = 1.0f / f.scale;
        for (long t = 0; t < n; t++) {
            float* row = row_of(bin + t);
            in_vectors(m.bands, [&](auto kind, long b) {
                typedef decltype(kind) V;
                V x = (load_as<V>(logmel + t * m.bands + b) + f.shift) * scale;
                store_pixels(row + 3 + b * 3, x, x, load_as<V>(m.code + t * m.bands + b));
            });
            filled(bin + t);
            out.weight[bin + t] = 1, out.times_ms[bin + t] = (float)((start + t) * m.frame_ms);
        }
        return;
    }
    power += start * m.bands;
    importance(m, logmel, n, s.h, s.mixed, s.raw);
    for (long t = 0; weight && t < n; t++) s.raw[t] *= weight[start + t];
    water_filling(s.raw, n, bins, s.ranked, s.score);
    double running = 0;
    for (long t = 0; t < n; t++) s.cum[t] = running += s.score[t];
    float *mean = s.sums, *largest = mean + m.bands, *code = largest + m.bands;
    memset(mean, 0, 3 * m.bands * sizeof(float));
    float mass = 0, moment = 0;
    long current = 0;
    double ended = 0;  // where the last bin ended, in frames

    auto add = [&](long t, float share) {
        const float* position = m.code + t % m.block_frames * m.bands;
        in_vectors(m.bands, [&](auto kind, long b) {
            typedef decltype(kind) V;
            V x = load_as<V>(power + t * m.bands + b) * share;
            store_as(mean + b, load_as<V>(mean + b) + x);
            store_as(largest + b, larger(load_as<V>(largest + b), x));
            V here = load_as<V>(position + b);
            store_as(code + b, fused(here, all<V>(share), load_as<V>(code + b)));
        });
        mass += share, moment += share * t;
    };
    auto close = [&](long t) {  // the bin's right edge lies in frame t
        put_bin(m, f, mean, largest, code, row_of(bin + current));
        filled(bin + current);
        double centre = mass > 0 ? moment / mass : n - 1.0;
        out.times_ms[bin + current] = (float)((float)centre * (float)m.frame_ms) + (float)(start * m.frame_ms);
        double from = t ? s.cum[t - 1] : 0, score = s.cum[t] - from, part = (current + 1 - from) / fmax(score, 1e-9);
        double passed = fmin(t + fmin(fmax(part, 0), 1), (double)n);
        out.weight[bin + current] = (float)fmax(passed - ended, 0);
        ended = passed, current++, mass = moment = 0;
        memset(mean, 0, 3 * m.bands * sizeof(float));
    };
    for (long t = 0; t < n; t++) {
        double from = t ? s.cum[t - 1] : 0, to = s.cum[t];
        long first = (long)floor(from);
        first = first < bins - 1 ? first : bins - 1;
        while (current < first) close(t ? t - 1 : 0);
        double edge = first + 1;
        add(t, (float)fmax(0, fmin(to, edge) - from));
        if (to > edge && first + 1 < bins) {
            close(t);
            add(t, (float)fmin(to - edge, 1));
        }
    }
    while (current < bins) close(n - 1);
}

}  // namespace
