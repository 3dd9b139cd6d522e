// Products of pixels and weights: out[p] = act(a[p] W + bias) + residual[p], rows of `a` being the pixels' channels.
//
// W is packed in panels of 24, 16 or 8 outputs, so that several pixels' sums of a panel stay in registers.
#pragma once
#include "simd.h"

namespace {

const int PANEL = 3;         // vectors of outputs
const int DEPTH = 384;       // inputs summed before the sums are put down: a panel's part stays in the first cache

inline int panel_vectors(int left) { return left < PANEL ? left : PANEL; }

// [k][n] row-major, n a multiple of 8, to panels; each panel's part of DEPTH inputs lies together.
inline void pack(const float* w, int k, int n, float* out, const float* gate = 0) {
    for (int k0 = 0; k0 < k; k0 += DEPTH) {
        int k1 = k0 + DEPTH < k ? k0 + DEPTH : k;
        for (int v0 = 0; v0 < n / LANES;) {
            int nv = panel_vectors(n / LANES - v0);
            for (int i = k0; i < k1; i++) {
                v8 g = splat(gate ? gate[i] : 1.0f);
                for (int v = 0; v < nv; v++, out += LANES) store(out, load(w + (long)i * n + (v0 + v) * LANES) * g);
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

// MR pixels, NV vectors of outputs. `a` and `out` stand at the first pixel and first input or output.
template <int MR, int NV, int ACT>
inline void tile(const float* a, int a_step, int k, const float* w, float* out, int out_step, const float* bias,
                 const float* residual, bool first, bool last) {
    v8 acc[MR][NV];
    for (int i = 0; i < MR; i++)
        for (int v = 0; v < NV; v++) acc[i][v] = first ? splat(0.0f) : load(out + i * out_step + v * LANES);
    for (int p = 0; p < k; p++, w += NV * LANES) {
        v8 b[NV];
        for (int v = 0; v < NV; v++) b[v] = load(w + v * LANES);
        for (int i = 0; i < MR; i++) {
            v8 x = splat(a[i * (long)a_step + p]);
            for (int v = 0; v < NV; v++) acc[i][v] = fma8(x, b[v], acc[i][v]);
        }
    }
    for (int i = 0; i < MR; i++)
        for (int v = 0; v < NV; v++) {
            v8 y = acc[i][v];
            if (last) {
                y = activate<ACT>(y + load(bias + v * LANES));
                if (residual) y = y + load(residual + i * out_step + v * LANES);
            }
            store(out + i * out_step + v * LANES, y);
        }
}

template <int NV, int ACT>
inline void run_panel(const Rows& a, long rows, int k0, int k, const float* w, const Rows& out, int column,
                      const Epilogue& end, bool first, bool last) {
    constexpr int MR = NV == 3 ? 4 : NV == 2 ? 6 : 8;  // as many sums as there are registers for
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
            tile<MR, NV, ACT>(from, a.channels, k, w, to, out.channels, bias, residual, first, last);
        if (MR > 4 && left >= 4) {
            tile<4, NV, ACT>(from, a.channels, k, w, to, out.channels, bias, residual, first, last);
            left -= 4, step(4);
        }
        for (; left > 0; left--, step(1))
            tile<1, NV, ACT>(from, a.channels, k, w, to, out.channels, bias, residual, first, last);
    }
}

template <int ACT>
inline void gemm_act(const Rows& a, long rows, int k, const float* packed, const Rows& out, int n,
                     const Epilogue& end) {
    for (int k0 = 0; k0 < k; k0 += DEPTH) {
        int k1 = k0 + DEPTH < k ? k0 + DEPTH : k;
        bool first = k0 == 0, last = k1 == k;
        for (int v0 = 0; v0 < n / LANES;) {
            int nv = panel_vectors(n / LANES - v0);
            if (nv == 3) run_panel<3, ACT>(a, rows, k0, k1 - k0, packed, out, v0 * LANES, end, first, last);
            if (nv == 2) run_panel<2, ACT>(a, rows, k0, k1 - k0, packed, out, v0 * LANES, end, first, last);
            if (nv == 1) run_panel<1, ACT>(a, rows, k0, k1 - k0, packed, out, v0 * LANES, end, first, last);
            packed += (long)(k1 - k0) * nv * LANES;
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
