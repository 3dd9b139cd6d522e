// Products of pixels and weights: out[p] = act(a[p] W + bias) + residual[p], rows of `a` being the pixels' channels.
//
// W is packed in panels of up to three vectors of outputs, so that several pixels' sums of a panel stay in registers.
#pragma once
#include "simd.h"

namespace {

const int PANEL = 3;         // vectors of outputs
const int DEPTH = WIDE == 8 ? 384 : 192;  // inputs summed before the sums are put down: a panel's part stays in the first cache

inline int panel_vectors(int left) { return left < PANEL ? left : PANEL; }
inline int vectors_of(int n) { return (n + WIDE - 1) / WIDE; }

// What `pack` writes.
inline long packed_floats(int k, int n) { return (long)k * vectors_of(n) * WIDE; }

// [k][n] row-major, n a multiple of 8, to panels; each panel's part of DEPTH inputs lies together.
inline void pack(const float* w, int k, int n, float* out, const float* gate = 0) {
    for (int k0 = 0; k0 < k; k0 += DEPTH) {
        int k1 = k0 + DEPTH < k ? k0 + DEPTH : k;
        for (int v0 = 0; v0 < vectors_of(n);) {
            int nv = panel_vectors(vectors_of(n) - v0);
            for (int i = k0; i < k1; i++) {
                const float g = gate ? gate[i] : 1.0f;
                for (int at = v0 * WIDE; at < (v0 + nv) * WIDE; at += WIDE, out += WIDE) {
                    const float* from = w + (long)i * n + at;
                    store_as(out, (at + WIDE > n ? load_half(from) : load_as<wide>(from)) * g);
                }
            }
            v0 += nv;
        }
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

// MR pixels, NV vectors of outputs, HALF of the last one where that is all there is. `a` and `out` stand at the first
// pixel and first input or output.
template <int MR, int NV, int ACT, bool HALF>
inline void tile(const float* a, int a_step, int k, const float* w, float* out, int out_step, const float* bias,
                 const float* residual, bool first, bool last) {
    auto get = [](const float* p, int v) { return HALF && v == NV - 1 ? load_half(p + v * WIDE) : load_as<wide>(p + v * WIDE); };
    wide acc[MR][NV];
    for (int i = 0; i < MR; i++)
        for (int v = 0; v < NV; v++) acc[i][v] = first ? all<wide>(0.0f) : get(out + i * out_step, v);
    for (int p = 0; p < k; p++, w += NV * WIDE) {
        wide b[NV];
        for (int v = 0; v < NV; v++) b[v] = load_as<wide>(w + v * WIDE);
        for (int i = 0; i < MR; i++) {
            wide x = all<wide>(a[i * (long)a_step + p]);
            for (int v = 0; v < NV; v++) acc[i][v] = fused(x, b[v], acc[i][v]);
        }
    }
    for (int i = 0; i < MR; i++)
        for (int v = 0; v < NV; v++) {
            wide y = acc[i][v];
            if (last) {
                y = activate<ACT>(y + get(bias, v));
                if (residual) y = y + get(residual + i * out_step, v);
            }
            float* to = out + i * out_step + v * WIDE;
            if (HALF && v == NV - 1) store_half(to, y);
            else store_as(to, y);
        }
}

template <int NV, int ACT, bool HALF>
inline void run_panel(const Rows& a, long rows, int k0, int k, const float* w, const Rows& out, int column,
                      const Epilogue& end, bool first, bool last) {
    // As many sums as there are registers for: 16 of them, 32 with AVX-512.
    constexpr int MR = WIDE == 8 ? (NV == 3 ? 4 : NV == 2 ? 6 : 8) : (NV == 3 ? 8 : 12);
    const float* bias = end.bias + column;
    for (long row = 0; row < rows; row++) {
        const float* from = a.data + row * a.pitch + k0;
        const long at = row * out.pitch + column;
        float* to = out.data + at;
        const float* residual = end.residual ? end.residual + at : 0;
        auto step = [&](int pixels) {
            from += pixels * a.channels, to += pixels * out.channels;
            if (residual) residual += pixels * out.channels;
        };
        long left = a.width;
        for (; left >= MR; left -= MR, step(MR))
            tile<MR, NV, ACT, HALF>(from, a.channels, k, w, to, out.channels, bias, residual, first, last);
        for (; MR > 4 && left >= 4; left -= 4, step(4))
            tile<4, NV, ACT, HALF>(from, a.channels, k, w, to, out.channels, bias, residual, first, last);
        for (; left > 0; left--, step(1))
            tile<1, NV, ACT, HALF>(from, a.channels, k, w, to, out.channels, bias, residual, first, last);
    }
}

template <int ACT, bool HALF>
inline void any_panel(int nv, const Rows& a, long rows, int k0, int k, const float* packed, const Rows& out, int column,
                      const Epilogue& end, bool first, bool last) {
    if (nv == 3) run_panel<3, ACT, HALF>(a, rows, k0, k, packed, out, column, end, first, last);
    else if (nv == 2) run_panel<2, ACT, HALF>(a, rows, k0, k, packed, out, column, end, first, last);
    else run_panel<1, ACT, HALF>(a, rows, k0, k, packed, out, column, end, first, last);
}

template <int ACT>
inline void gemm_act(const Rows& a, long rows, int k, const float* packed, const Rows& out, int n,
                     const Epilogue& end) {
    for (int k0 = 0; k0 < k; k0 += DEPTH) {
        int k1 = k0 + DEPTH < k ? k0 + DEPTH : k;
        bool first = k0 == 0, last = k1 == k;
        for (int v0 = 0; v0 < vectors_of(n);) {
            int nv = panel_vectors(vectors_of(n) - v0);
            if (WIDE > 8 && (v0 + nv) * WIDE > n)
                any_panel<ACT, (WIDE > 8)>(nv, a, rows, k0, k1 - k0, packed, out, v0 * WIDE, end, first, last);
            else
                any_panel<ACT, false>(nv, a, rows, k0, k1 - k0, packed, out, v0 * WIDE, end, first, last);
            packed += (long)(k1 - k0) * nv * WIDE;
            v0 += nv;
        }
    }
}

// `rows` rows of pixels; `n` a multiple of 8; `packed` as `pack` makes it; the residual lies as the output does.
inline void gemm(const Rows& a, long rows, int k, const float* packed, const Rows& out, int n, int act,
                 const Epilogue& end) {
    if (rows > 1 && a.whole() && out.whole()) {  // one long row: tiles may go over the ends of rows
        const long pixels = rows * a.width;
        gemm({a.data, pixels * a.channels, pixels, a.channels}, 1, k, packed,
             {out.data, pixels * out.channels, pixels, out.channels}, n, act, end);
    } else if (act == RELU) {
        gemm_act<RELU>(a, rows, k, packed, out, n, end);
    } else if (act == HARDSWISH) {
        gemm_act<HARDSWISH>(a, rows, k, packed, out, n, end);
    } else {
        gemm_act<NONE>(a, rows, k, packed, out, n, end);
    }
}

}  // namespace
