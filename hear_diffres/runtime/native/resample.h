// The products of the resampler. Every lane of a vector is a stretch of the sound of its own, all of them at the same
// phases of the filter: a coefficient serves as many samples as there are lanes, and nothing is summed across them.
#pragma once
#include "model.h"
#include "table.h"

namespace {

const int VECTORS = 2;  // of lanes at a time
const int STRETCHES = VECTORS * WIDE;
const int OUTPUTS = 8;  // in a group
const int SUMS = REGISTERS / 2;  // vectors of them at a time, so that they stay in registers

// A group of outputs of every lane, from `rows` samples each, `columns` [row][lane]; coefficients [row][output].
template <int VECS>
inline void filter(const float* coefficients, const float* columns, long rows, wide out[VECS][OUTPUTS]) {
    constexpr int SOME = VECS * OUTPUTS > SUMS ? SUMS / VECS : OUTPUTS;
    for (int first = 0; first < OUTPUTS; first += SOME) {
        wide sums[VECS][SOME] = {};
        for (long r = 0; r < rows; r++) {
            wide x[VECS];
            HD_UNROLL
            for (int v = 0; v < VECS; v++) x[v] = load_as<wide>(columns + (r * VECS + v) * WIDE);
            HD_UNROLL
            for (int j = 0; j < SOME; j++) {
                const wide c = all<wide>(coefficients[r * OUTPUTS + first + j]);
                HD_UNROLL
                for (int v = 0; v < VECS; v++) sums[v][j] = fused(x[v], c, sums[v][j]);
            }
        }
        HD_UNROLL
        for (int v = 0; v < VECS; v++)
            HD_UNROLL
            for (int j = 0; j < SOME; j++) out[v][first + j] = sums[v][j];
    }
}

// Groups [first, last) of a period, in `n` periods on end, as many as there are lanes at most. `in`: the first sample
// that they need, of the first period; `columns`: room for the samples of a period that they need and 8 more, for every
// lane.
template <int VECS>
inline void resample_groups(const hd_filter& f, const float* in, long n, long first, long last, float* columns,
                            float* out) {
    const long samples = f.first[last - 1] + f.rows - f.first[first];
    auto of_lane = [n](int v, int l) { return v * WIDE + l < n ? (long)(v * WIDE + l) : n - 1; };
    for (int v = 0; v < VECS; v++) {
        const float* from[WIDE];
        for (int l = 0; l < WIDE; l++) from[l] = in + of_lane(v, l) * f.period;
        for (long at = 0; at < samples; at += 8) {
            wide block[8];
            load_columns(from, at, block);
            for (int i = 0; i < 8; i++) store_as(columns + ((at + i) * VECS + v) * WIDE, block[i]);
        }
    }
    for (long g = first; g < last; g++) {
        wide block[VECS][OUTPUTS];
        const float* own = columns + (f.first[g] - f.first[first]) * VECS * WIDE;
        filter<VECS>(f.coefficients + g * f.rows * OUTPUTS, own, f.rows, block);
        for (int v = 0; v < VECS && v * WIDE < n; v++) {
            float* to[WIDE];
            for (int l = 0; l < WIDE; l++) to[l] = out + of_lane(v, l) * f.groups * OUTPUTS;
            store_columns(block[v], to, (g - first) * OUTPUTS, n - v * WIDE < WIDE ? (int)(n - v * WIDE) : WIDE);
        }
    }
}

inline bool resample(const hd_filter& f, const float* in, long group, long count, float* out) {
    float* columns = floats((f.first[f.groups - 1] + f.rows - f.first[0] + 8) * STRETCHES);
    if (!columns) return false;
    auto some = [&](const float* from, long n, long first, long last, float* to) {
        if (first == last) return;
        if (n > WIDE && VECTORS > 1) resample_groups<VECTORS>(f, from, n, first, last, columns, to);
        else resample_groups<1>(f, from, n, first, last, columns, to);
    };
    while (count > 0) {
        const long first = group % f.groups, whole = count / f.groups, n = whole < STRETCHES ? whole : STRETCHES;
        const long over = f.period + f.first[0] - f.first[first];  // samples to the next period's first group
        if (n > 0) {  // periods side by side, from wherever they begin
            some(in, n, first, f.groups, out);
            some(in + over, n, 0, first, out + (f.groups - first) * OUTPUTS);
            in += n * f.period, group += n * f.groups, count -= n * f.groups, out += n * f.groups * OUTPUTS;
        } else {
            const long last = first + count < f.groups ? first + count : f.groups;
            some(in, 1, first, last, out);
            in += over, group += last - first, count -= last - first, out += (last - first) * OUTPUTS;
        }
    }
    free(columns);
    return true;
}

// Mean of the channels of `n` samples times `scale`; whether all are finite.
template <typename T>
inline bool mixed(const T* in, long n, long channels, float scale, float* out) {
    auto take = [&](auto mean) {
        float bad[16] = {};  // NaN for what is not finite
        long i = 0;
        for (; i + 16 <= n; i += 16)
            for (int l = 0; l < 16; l++) {
                const float x = mean(in + (i + l) * channels) * scale;
                out[i + l] = x, bad[l] += x * 0.0f;
            }
        for (; i < n; i++) out[i] = mean(in + i * channels) * scale, bad[0] += out[i] * 0.0f;
        for (int l = 1; l < 16; l++) bad[0] += bad[l];
        return bad[0] == 0.0f;
    };
    if (channels == 1) return take([](const T* x) { return (float)x[0]; });
    if (channels == 2) return take([](const T* x) { return ((float)x[0] + (float)x[1]) * 0.5f; });
    return take([channels](const T* x) {
        float sum = (float)x[0];
        for (long c = 1; c < channels; c++) sum += (float)x[c];
        return sum / (float)channels;
    });
}

}  // namespace
