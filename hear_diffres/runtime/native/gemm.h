// Products of pixels and weights: out[p] = act(a[p] W + bias) + residual[p], rows of `a` being the pixels' channels.
//
// W is packed in panels of a few vectors of outputs, so that several pixels' sums of a panel stay in registers.
#pragma once
#include "simd.h"

namespace {

const int PANEL = WIDE > 4 ? 3 : REGISTERS / 8;  // vectors of outputs
const int DEPTH = WIDE > 8 ? 192 : 384;  // inputs summed before the sums are put down: a panel's part stays in the first cache

// Pixels whose sums of so many vectors fill the registers, but for a few.
constexpr int pixels_at_once(int vectors) {
    if (REGISTERS == 32) return vectors == 4 ? 5 : vectors == 3 ? 8 : 12;
    return vectors == 3 ? 4 : vectors == 2 ? 6 : 8;
}

inline int panel_vectors(int left) { return left < PANEL ? left : PANEL; }

// What `pack` writes.
inline long packed_floats(int k, int n) { return (long)k * n; }

// [k][n] row-major, both multiples of 8, to panels; each panel's part of DEPTH inputs lies together. Outputs that fill no
// vector are a panel of their own: of every two inputs, [output][input].
inline void pack(const float* w, int k, int n, float* out, const float* gate = 0) {
    auto gate_of = [gate](int i) { return gate ? gate[i] : 1.0f; };
    const int whole = n / WIDE;
    for (int k0 = 0; k0 < k; k0 += DEPTH) {
        const int k1 = k0 + DEPTH < k ? k0 + DEPTH : k;
        for (int v0 = 0, nv; v0 < whole; v0 += nv) {
            nv = panel_vectors(whole - v0);
            for (int i = k0; i < k1; i++)
                for (int at = v0 * WIDE; at < (v0 + nv) * WIDE; at += WIDE, out += WIDE)
                    store_as(out, load_as<wide>(w + (long)i * n + at) * gate_of(i));
        }
#ifdef HD_AVX512
        for (int i = k0; n % WIDE && i < k1; i += 2, out += WIDE) {
            const float* from = w + (long)i * n + whole * WIDE;
            store_as(out, in_pairs(load(from) * gate_of(i), load(from + n) * gate_of(i + 1)));
        }
#endif
    }
}

// Where pixels lie: rows of `width` pixels, `pitch` floats from row to row, `channels` from pixel to pixel.
struct Rows {
    float* data;
    long pitch;
    long width;
    int channels;

    bool whole() const { return pitch == width * channels; }  // no gap between rows
};

struct Epilogue {
    const float* bias;
    const float* residual;  // or null
};

template <int N>
struct Number {
    static constexpr int value = N;
};

// MR pixels, NV vectors of outputs. `a` and `out` stand at the first pixel and first input or output.
template <int MR, int NV, int ACT>
inline void tile(const float* a, int a_step, int k, const float* w, float* out, int out_step, const float* bias,
                 const float* residual, bool first, bool last) {
    wide acc[MR][NV];
    HD_UNROLL
    for (int i = 0; i < MR; i++)
        HD_UNROLL
        for (int v = 0; v < NV; v++) acc[i][v] = load_as<wide>((first ? bias : out + i * out_step) + v * WIDE);
    for (int p = 0; p < k; p++, w += NV * WIDE) {
        wide b[NV];
        HD_UNROLL
        for (int v = 0; v < NV; v++) b[v] = load_as<wide>(w + v * WIDE);
        HD_UNROLL
        for (int i = 0; i < MR; i++) {
            wide x = all<wide>(a[i * (long)a_step + p]);
            HD_UNROLL
            for (int v = 0; v < NV; v++) acc[i][v] = fused(x, b[v], acc[i][v]);
        }
    }
    HD_UNROLL
    for (int i = 0; i < MR; i++)
        HD_UNROLL
        for (int v = 0; v < NV; v++) {
            wide y = acc[i][v];
            if (last) {
                y = activate<ACT>(y);
                if (residual) y = y + load_as<wide>(residual + i * out_step + v * WIDE);
            }
            store_as(out + i * out_step + v * WIDE, y);
        }
}

#ifdef HD_AVX512
// MR pixels, eight outputs: the other half of a vector takes every second input.
template <int MR, int ACT>
inline void pair_tile(const float* a, int a_step, int k, const float* w, float* out, int out_step, const float* bias,
                      const float* residual, bool first, bool last) {
    wide acc[MR];
    HD_UNROLL
    for (int i = 0; i < MR; i++) acc[i] = wide{};
    for (int p = 0; p < k; p += 2, w += WIDE) {
        const wide b = load_as<wide>(w);
        HD_UNROLL
        for (int i = 0; i < MR; i++) acc[i] = fused(all_pairs(a + i * (long)a_step + p), b, acc[i]);
    }
    HD_UNROLL
    for (int i = 0; i < MR; i++) {
        v8 y = sums_of_pairs(acc[i]) + load(first ? bias : out + i * out_step);
        if (last) {
            y = activate<ACT>(y);
            if (residual) y = y + load(residual + i * out_step);
        }
        store(out + i * out_step, y);
    }
}
#endif

// The pixels of all rows, NV vectors of outputs, or the eight that fill none where NV is 0.
template <int NV, int ACT>
inline void run_panel(const Rows& a, long rows, int k0, int k, const float* w, const Rows& out, int column,
                      const Epilogue& end, bool first, bool last) {
    constexpr int MR = pixels_at_once(NV);
    const float* bias = end.bias + column;
    for (long row = 0; row < rows; row++) {
        const float* from = a.data + row * a.pitch + k0;
        const long at = row * out.pitch + column;
        float* to = out.data + at;
        const float* residual = end.residual ? end.residual + at : 0;
        auto pixels = [&](auto count) {
            constexpr int N = decltype(count)::value;
#ifdef HD_AVX512
            if constexpr (NV == 0)
                pair_tile<N, ACT>(from, a.channels, k, w, to, out.channels, bias, residual, first, last);
            else
#endif
                tile<N, NV, ACT>(from, a.channels, k, w, to, out.channels, bias, residual, first, last);
            from += N * a.channels, to += N * out.channels;
            if (residual) residual += N * out.channels;
        };
        long left = a.width;
        for (; left >= MR; left -= MR) pixels(Number<MR>());
        for (; MR > 4 && left >= 4; left -= 4) pixels(Number<4>());
        for (; left > 0; left--) pixels(Number<1>());
    }
}

template <int ACT>
inline void any_panel(int nv, const Rows& a, long rows, int k0, int k, const float* packed, const Rows& out, int column,
                      const Epilogue& end, bool first, bool last) {
    if constexpr (PANEL > 3)
        if (nv == 4) return run_panel<4, ACT>(a, rows, k0, k, packed, out, column, end, first, last);
    if constexpr (PANEL > 2)
        if (nv == 3) return run_panel<3, ACT>(a, rows, k0, k, packed, out, column, end, first, last);
    if (nv == 2) run_panel<2, ACT>(a, rows, k0, k, packed, out, column, end, first, last);
    else run_panel<1, ACT>(a, rows, k0, k, packed, out, column, end, first, last);
}

template <int ACT>
inline void gemm_act(const Rows& a, long rows, int k, const float* packed, const Rows& out, int n,
                     const Epilogue& end, int begin, int count) {
    const int whole = n / WIDE, last_vector = begin + count < n ? (begin + count) / WIDE : whole;
    for (int k0 = 0; k0 < k; k0 += DEPTH) {
        int k1 = k0 + DEPTH < k ? k0 + DEPTH : k;
        bool first = k0 == 0, last = k1 == k;
        const float* w = packed + (long)k0 * n + (long)(k1 - k0) * begin;
        for (int v0 = begin / WIDE, nv; v0 < last_vector; v0 += nv) {
            nv = panel_vectors(whole - v0);
            any_panel<ACT>(nv, a, rows, k0, k1 - k0, w, out, v0 * WIDE - begin, end, first, last);
            w += (long)(k1 - k0) * nv * WIDE;
        }
#ifdef HD_AVX512
        if (n % WIDE && begin + count == n)
            run_panel<0, ACT>(a, rows, k0, k1 - k0, w, out, whole * WIDE - begin, end, first, last);
#endif
    }
}

// `rows` rows of pixels; `n` a multiple of 8; `packed` as `pack` makes it; the residual lies as the output does. Of the
// outputs only `count` from `begin` on where that is given, a multiple of a panel, and so is `count` or it reaches to `n`;
// `out` then holds these alone.
inline void gemm(const Rows& a, long rows, int k, const float* packed, const Rows& out, int n, int act,
                 const Epilogue& end, int begin = 0, int count = -1) {
    if (rows > 1 && a.whole() && out.whole()) {  // one long row: tiles may go over the ends of rows
        const long pixels = rows * a.width;
        return gemm({a.data, pixels * a.channels, pixels, a.channels}, 1, k, packed,
                    {out.data, pixels * out.channels, pixels, out.channels}, n, act, end, begin, count);
    }
    if (count < 0) count = n - begin;
    const Epilogue here = {end.bias + begin, end.residual};
    if (act == RELU) gemm_act<RELU>(a, rows, k, packed, out, n, here, begin, count);
    else if (act == HARDSWISH) gemm_act<HARDSWISH>(a, rows, k, packed, out, n, here, begin, count);
    else gemm_act<NONE>(a, rows, k, packed, out, n, here, begin, count);
}

}  // namespace
