// The backbone, channels last, time before frequency. A block runs over stretches of time: expanded rows, the
// depthwise convolution and the projection of a stretch stay in the cache.
#pragma once
#include "merging.h"

namespace {

const long STRETCH_FLOATS = 40000;  // of the expanded rows of a stretch
const long GROUP_FLOATS = 98304;    // of the weights of a group of channels: they stay in the second cache
const long STRETCH_PIXELS = 64;     // at least, so that weights too large for the cache are not read for a few pixels

struct Map {
    float* data;
    long steps;  // of time
    int width;   // of frequency
    int channels;

    long pixels() const { return steps * width; }
    float* row(long t) const { return data + t * width * channels; }
    Rows rows() const { return {data, (long)width * channels, width, channels}; }
    Rows rows(long t) const { return {row(t), (long)width * channels, width, channels}; }
};

inline long half_up(long n) { return (n + 1) / 2; }

// `n` pixels of one row of a convolution over `kernel` rows of padded pixels, a vector of channels.
template <typename V, int N, int K, int S, int ACT>
inline void depthwise_tile(const float* const* rows, long from, const float* weight, const float* bias, int channels,
                           float* out, int out_pitch) {
    V acc[N];
    HD_UNROLL
    for (int i = 0; i < N; i++) acc[i] = load_as<V>(bias);
    for (int ky = 0; ky < K; ky++) {
        const float* x = rows[ky] + from;
        for (int kx = 0; kx < K; kx++, weight += channels) {
            const V w = load_as<V>(weight);
            HD_UNROLL
            for (int i = 0; i < N; i++) acc[i] = fused(load_as<V>(x + (i * S + kx) * (long)channels), w, acc[i]);
        }
    }
    HD_UNROLL
    for (int i = 0; i < N; i++) store_as(out + i * (long)out_pitch, activate<ACT>(acc[i]));
}

template <typename V, int K, int S, int ACT>
inline void depthwise_columns(const Taps& d, const float* const* rows, int width, int at, float* out, int pitch) {
    const int c = d.channels;
    const float *shifted[K], *weight = d.weight + at, *bias = d.bias + at;
    for (int ky = 0; ky < K; ky++) shifted[ky] = rows[ky] + at;
    int w = 0;
    for (out += at; w + 8 <= width; w += 8)
        depthwise_tile<V, 8, K, S, ACT>(shifted, (long)w * S * c, weight, bias, c, out + (long)w * pitch, pitch);
    for (; w + 4 <= width; w += 4)
        depthwise_tile<V, 4, K, S, ACT>(shifted, (long)w * S * c, weight, bias, c, out + (long)w * pitch, pitch);
    for (; w < width; w++)
        depthwise_tile<V, 1, K, S, ACT>(shifted, (long)w * S * c, weight, bias, c, out + (long)w * pitch, pitch);
}

template <int K, int S, int ACT>
inline void depthwise_row(const Taps& d, const float* const* rows, int width, float* out, int pitch) {
    int at = 0;
    for (; at + WIDE <= d.channels; at += WIDE) depthwise_columns<wide, K, S, ACT>(d, rows, width, at, out, pitch);
    if (at < d.channels) depthwise_columns<v8, K, S, ACT>(d, rows, width, at, out, pitch);
}

// One row; from pixel to pixel of `out` are `pitch` floats.
inline void depthwise(const Taps& d, const float* const* rows, int width, float* out, int pitch) {
    if (d.kernel == 3 && d.stride == 1 && d.act == RELU) depthwise_row<3, 1, RELU>(d, rows, width, out, pitch);
    else if (d.kernel == 3 && d.stride == 2 && d.act == RELU) depthwise_row<3, 2, RELU>(d, rows, width, out, pitch);
    else if (d.kernel == 5 && d.stride == 1 && d.act == RELU) depthwise_row<5, 1, RELU>(d, rows, width, out, pitch);
    else if (d.kernel == 5 && d.stride == 2 && d.act == RELU) depthwise_row<5, 2, RELU>(d, rows, width, out, pitch);
    else if (d.kernel == 3 && d.stride == 1) depthwise_row<3, 1, HARDSWISH>(d, rows, width, out, pitch);
    else if (d.kernel == 3 && d.stride == 2) depthwise_row<3, 2, HARDSWISH>(d, rows, width, out, pitch);
    else if (d.kernel == 5 && d.stride == 1) depthwise_row<5, 1, HARDSWISH>(d, rows, width, out, pitch);
    else depthwise_row<5, 2, HARDSWISH>(d, rows, width, out, pitch);
}

// The stem: three channels in, 3 x 3, every second pixel of every second row.
template <int N>
inline void stem_columns(const Taps& s, const float* const rows[3], int c, float* out) {
    wide acc[N];
    const float* weight = s.weight + c;
    HD_UNROLL
    for (int i = 0; i < N; i++) acc[i] = load_as<wide>(s.bias + c);
    for (int ky = 0; ky < 3; ky++)
        for (int k = 0; k < 9; k++, weight += s.channels) {
            const wide w = load_as<wide>(weight);
            HD_UNROLL
            for (int i = 0; i < N; i++) acc[i] = fused(all<wide>(rows[ky][i * 6 + k]), w, acc[i]);
        }
    HD_UNROLL
    for (int i = 0; i < N; i++) store_as(out + i * (long)s.channels + c, activate<HARDSWISH>(acc[i]));
}

#ifdef HD_AVX512
// Its last eight channels: as `pair_tile`, of nine numbers the last with a neighbour that counts for nothing.
template <int N>
inline void stem_pairs(const Taps& s, const float* const rows[3], int c, float* out) {
    wide acc[N];
    HD_UNROLL
    for (int i = 0; i < N; i++) acc[i] = wide{};
    for (int ky = 0; ky < 3; ky++)
        for (int k = 0; k < 9; k += 2) {
            const int at = k < 8 ? k : 7;
            const float* weight = s.weight + (ky * 9 + at) * (long)s.channels + c;
            const wide w = in_pairs(k < 8 ? load(weight) : v8{}, load(weight + s.channels));
            HD_UNROLL
            for (int i = 0; i < N; i++) acc[i] = fused(all_pairs(rows[ky] + i * 6 + at), w, acc[i]);
        }
    HD_UNROLL
    for (int i = 0; i < N; i++)
        store(out + i * (long)s.channels + c, activate<HARDSWISH>(sums_of_pairs(acc[i]) + load(s.bias + c)));
}
#endif

template <int N>
inline void stem_tile(const Taps& s, const float* const rows[3], float* out) {
    int c = 0;
    for (; c + WIDE <= s.channels; c += WIDE) stem_columns<N>(s, rows, c, out);
#ifdef HD_AVX512
    if (c < s.channels) stem_pairs<N>(s, rows, c, out);
#endif
}

// One step of time, from its three rows of the picture.
inline void run_stem(const Taps& s, const float* const rows[3], int width, float* out) {
    int w = 0;
    for (; w + 8 <= width; w += 8) {
        const float* here[3] = {rows[0] + w * 6, rows[1] + w * 6, rows[2] + w * 6};
        stem_tile<8>(s, here, out + (long)w * s.channels);
    }
    for (; w < width; w++) {
        const float* here[3] = {rows[0] + w * 6, rows[1] + w * 6, rows[2] + w * 6};
        stem_tile<1>(s, here, out + (long)w * s.channels);
    }
}

// Rows of time that a stretch takes at once.
inline long stretch_of(const Block& b, int width) {
    long per_row = (long)(width + b.depthwise.kernel - 1) * b.depthwise.channels * b.depthwise.stride;
    long rows = STRETCH_FLOATS / per_row, least = STRETCH_PIXELS / width;
    return rows < least ? least : rows < 4 ? 4 : rows;
}

// Channels of the expanded rows that go through all of time together: all of them, or as many as leave their weights in
// the cache, which are then read once, and not for every stretch.
inline int group_of(const Block& b, int threads) {
    const int all = b.depthwise.channels, step = PANEL * WIDE;
    if (ROUGH || !b.has_expand || (long)b.expand.in * all < 2 * GROUP_FLOATS) return all;
    const long most = GROUP_FLOATS / b.expand.in < step ? step : GROUP_FLOATS / b.expand.in / step * step;
    const long groups = ((all + most - 1) / most + threads - 1) / threads * threads, each = (all + groups - 1) / groups;
    return (int)((each + step - 1) / step * step);
}

inline long taps_floats(const Block& b, int channels) { return (long)b.depthwise.kernel * b.depthwise.kernel * channels; }

// The block with some of the channels between expansion and projection. `taps`: room for the depthwise weights of these.
inline Block part_of(const Block& b, int first, int last, float* taps) {
    Block part = b;
    Taps& d = part.depthwise;
    const int n = last - first;
    for (int i = 0; i < d.kernel * d.kernel; i++)
        memcpy(taps + (long)i * n, d.weight + (long)i * d.channels + first, n * sizeof(float));
    part.first = first, d.weight = taps, d.bias += first, d.channels = n;
    return part;
}

// Floats of the padded rows of a stretch.
inline long padded_floats(const Block& b, int width, long rows) {
    const Taps& d = b.depthwise;
    return ((rows - 1) * d.stride + d.kernel) * (long)(width + d.kernel - 1) * d.channels;
}

// Rows [first, last) of a block's input, expanded and with zeros around them, into `padded`. `scratch` is for `multiply`.
inline void open_rows(const Block& b, const Map& in, long first, long last, float* padded, float* scratch) {
    const int pad = b.depthwise.kernel / 2, c = b.depthwise.channels;
    const long pitch = (long)(in.width + 2 * pad) * c, from = first < 0 ? 0 : first;
    const long to = last > in.steps ? in.steps : last;
    for (long t = first; t < last; t++) {
        float* row = padded + (t - first) * pitch;
        if (t < from || t >= to) {
            memset(row, 0, pitch * sizeof(float));
            continue;
        }
        memset(row, 0, (long)pad * c * sizeof(float));
        memset(row + pitch - (long)pad * c, 0, (long)pad * c * sizeof(float));
        if (!b.has_expand) memcpy(row + pad * c, in.row(t), (long)in.width * c * sizeof(float));
    }
    if (b.has_expand && to > from) {
        Rows inside = {padded + (from - first) * pitch + pad * c, pitch, in.width, c};
        const Pointwise& e = b.expand;
        if (c < e.out) gemm(in.rows(from), to - from, e.in, e.packed, inside, e.out, e.act, {e.bias, 0}, b.first, c);
        else multiply(in.rows(from), to - from, e.in, e.packed, inside, c, e.act, {e.bias, 0}, 0, scratch);
    }
}

// Expand and convolve steps [t0, t1), `rows` at a time, in `padded`; rows that the next stretch needs too are moved, not
// made again. `where(u0, u1)` says where the result goes, `then(map, u0, u1)` takes it.
template <typename Where, typename Then>
inline void open_span(const Block& b, const Map& in, long t0, long t1, long rows, float* padded, float* scratch,
                      Where where, Then then) {
    const Taps& d = b.depthwise;
    const int pad = d.kernel / 2;
    const long pitch = (long)(in.width + 2 * pad) * d.channels;
    long ready = t0 * d.stride - pad;  // the first row that is not in `padded` yet
    for (long u0 = t0; u0 < t1; u0 += rows) {
        const long u1 = u0 + rows < t1 ? u0 + rows : t1, first = u0 * d.stride - pad;
        const long last = (u1 - 1) * d.stride + pad + 1;
        if (ready > first) memmove(padded, padded + rows * d.stride * pitch, (ready - first) * pitch * sizeof(float));
        open_rows(b, in, ready, last, padded + (ready - first) * pitch, scratch);
        ready = last;
        Map out = where(u0, u1);
        for (long t = u0; t < u1; t++) {
            const float* near[15];
            for (int k = 0; k < d.kernel; k++) near[k] = padded + ((t - u0) * d.stride + k) * pitch;
            depthwise(d, near, out.width, out.row(t - u0), out.channels);
        }
        then(out, u0, u1);
    }
}

// The projection of steps [t0, t1): `from` holds them alone, `out` is the whole map, `residual` the block's input.
inline void project(const Block& b, const float* packed, const float* gate, const Map& from, const Map* residual,
                    long t0, long t1, const Map& out, float* scratch) {
    multiply(from.rows(), t1 - t0, b.project.in, packed, out.rows(t0), b.project.out, NONE,
             {b.project.bias, residual ? residual->row(t0) : 0}, gate, scratch);
}

// Sum over frequency of the first `n` channels of one step, times `weight`, added to `out`.
inline void add_step(const Map& map, long t, float weight, float* out, int n) {
    const float* row = map.row(t);
    in_vectors(n, [&](auto kind, long c) {
        typedef decltype(kind) V;
        V s = {};
        for (int w = 0; w < map.width; w++) s = s + load_as<V>(row + (long)w * map.channels + c);
        store_as(out + c, fused(s, all<V>(weight), load_as<V>(out + c)));
    });
}

// Mean over frequency: `[steps][channels]`.
inline void frequency_mean(const Map& map, float* out) {
    memset(out, 0, map.steps * map.channels * sizeof(float));
    for (long t = 0; t < map.steps; t++) add_step(map, t, 1.0f / map.width, out + t * map.channels, map.channels);
}

// Standard deviation over frequency, of what is left of the `mean`: `[steps][channels]`. `hear_diffres.backbone.mobilenet`.
inline void frequency_std(const Map& map, const float* mean, float* out) {
    for (long t = 0; t < map.steps; t++) {
        const float *row = map.row(t), *middle = mean + t * map.channels;
        for (int c = 0; c < map.channels; c += LANES) {
            const v8 m = load(middle + c);
            v8 s = splat(0.0f);
            for (int w = 0; w < map.width; w++) {
                const v8 rest = load(row + (long)w * map.channels + c) - m;
                s = fused(rest, rest, s);
            }
            store(out + t * map.channels + c, s);
        }
    }
    for (long i = 0; i < map.steps * map.channels; i++) out[i] = sqrtf(out[i] / map.width + 1e-8f);
}

// One vector through a layer.
inline void vector_layer(const Pointwise& p, const float* in, float* out, int act) {
    Rows a = {(float*)in, p.in, 1, p.in}, b = {out, p.out, 1, p.out};
    gemm(a, 1, p.in, p.packed, b, p.out, act, {p.bias, 0});
}

// The gate of squeeze-and-excitation, `[mid]`. `mean` [mid], `hidden` room for what is between.
inline void fill_gate(const Block& b, const float* mean, float* hidden, float* gate) {
    vector_layer(b.squeeze, mean, hidden, RELU);
    vector_layer(b.excite, hidden, gate, NONE);
    in_vectors(b.excite.out, [&](auto kind, long c) {
        store_as(gate + c, logistic(load_as<decltype(kind)>(gate + c)));
    });
}

inline void scale_pixels(const Map& map, const float* gate) {
    for (long p = 0; p < map.pixels(); p++)
        in_vectors(map.channels, [&](auto v, long c) {
            float* at = map.data + p * map.channels + c;
            store_as(at, load_as<decltype(v)>(at) * load_as<decltype(v)>(gate + c));
        });
}

// Weights of a mean over time after every second step: `backbone/layers.py`, TimeMask.strided.
inline long halve_weights(float* weight, long n) {
    long out = half_up(n);
    float before = 0;  // of the step before, which is overwritten
    for (long k = 0; k < out; k++) {
        float here = weight[2 * k], after = 2 * k + 1 < n ? weight[2 * k + 1] : 0;
        float total = here + 0.5f * (before + after);
        float near = (here > 0) + 0.5f * ((before > 0) + (after > 0));
        weight[k] = total / (near > 0.5f ? near : 0.5f);
        before = after;
    }
    return out;
}

}  // namespace
