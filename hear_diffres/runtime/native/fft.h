// Power spectra of as many real frames of 1024 samples as a vector has lanes, a frame per lane: a complex FFT of 512
// points in three passes of radix 8 (decimation in frequency), then the usual split of a real signal's even and odd
// samples. The points are more than the first cache holds, so each is written once and read once: the first pass takes
// them from the frames, the other two and the split from one or two blocks of 64.
#pragma once
#include "simd.h"

namespace {

const int FFT_SIZE = 1024, HALF = FFT_SIZE / 2;
// A gap after every 64 points: points 64 apart would else compete for the same few places of the cache.
const int COLUMN = 65, POINTS = HALF / 64 * COLUMN;

inline int point(int i) { return i + i / 64; }

struct Twiddles {
    float first[64][8][2];   // W512^(j q)
    float second[8][8][2];   // W64^(j q)
    float split[HALF / 2 + 1][2];  // cos, sin of 2 pi k / 1024
    int place[HALF];         // where frequency k ends up

    void fill() {
        const double turn = 2 * M_PI;
        for (int j = 0; j < 64; j++)
            for (int q = 0; q < 8; q++) {
                first[j][q][0] = (float)cos(turn * j * q / 512), first[j][q][1] = (float)-sin(turn * j * q / 512);
                if (j < 8)
                    second[j][q][0] = (float)cos(turn * j * q / 64), second[j][q][1] = (float)-sin(turn * j * q / 64);
            }
        for (int k = 0; k <= HALF / 2; k++)
            split[k][0] = (float)cos(turn * k / FFT_SIZE), split[k][1] = (float)sin(turn * k / FFT_SIZE);
        for (int p = 0; p < HALF; p++) place[(p >> 6) + 8 * ((p >> 3) & 7) + 64 * (p & 7)] = point(p);
    }
};

template <typename V>
struct ComplexOf {
    V re, im;
};
typedef ComplexOf<wide> Complex;

template <typename V>
inline ComplexOf<V> operator+(ComplexOf<V> a, ComplexOf<V> b) {
    return {a.re + b.re, a.im + b.im};
}
template <typename V>
inline ComplexOf<V> operator-(ComplexOf<V> a, ComplexOf<V> b) {
    return {a.re - b.re, a.im - b.im};
}
template <typename V>
inline ComplexOf<V> minus_i(ComplexOf<V> a) {
    return {a.im, -a.re};
}
template <typename V>
inline ComplexOf<V> times(ComplexOf<V> a, V c, V s) {
    return {fused(a.re, c, -(a.im * s)), fused(a.re, s, a.im * c)};
}
template <typename V>
inline ComplexOf<V> times(ComplexOf<V> a, const float w[2]) {
    return times(a, all<V>(w[0]), all<V>(w[1]));
}

// Eight points `step` apart to eight frequencies `stride` apart; multiplied by twiddles where there are any.
template <bool TWIDDLED, typename V>
HD_INLINE void butterfly8(const ComplexOf<V>* x, int step, ComplexOf<V>* out, int stride, const float (*w)[2]) {
    typedef ComplexOf<V> C;
    C a0 = x[0], a4 = x[4 * step], a2 = x[2 * step], a6 = x[6 * step];
    C e0 = a0 + a4, e1 = a0 - a4, e2 = a2 + a6, e3 = minus_i(a2 - a6);
    C f0 = e0 + e2, f2 = e0 - e2, f1 = e1 + e3, f3 = e1 - e3;  // DFT of the even points
    C b1 = x[step], b5 = x[5 * step], b3 = x[3 * step], b7 = x[7 * step];
    C g0 = b1 + b5, g1 = b1 - b5, g2 = b3 + b7, g3 = minus_i(b3 - b7);
    C h0 = g0 + g2, h2 = minus_i(g0 - g2), h1 = g1 + g3, h3 = g1 - g3;  // of the odd ones
    const V r = all<V>(0.70710678118654752f);
    h1 = {(h1.re + h1.im) * r, (h1.im - h1.re) * r};     // times exp(-i pi / 4)
    h3 = {(h3.im - h3.re) * r, -((h3.re + h3.im) * r)};  // times exp(-3 i pi / 4)
    out[0] = f0 + h0;
    C y[8] = {f0, f1 + h1, f2 + h2, f3 + h3, f0 - h0, f1 - h1, f2 - h2, f3 - h3};
    for (int q = 1; q < 8; q++) out[q * stride] = TWIDDLED ? times(y[q], w[q]) : y[q];
}

// Four points of each of the eight blocks from samples 2 j ... 2 j + 7 of the frames and those 128, 256 ... further.
inline void first_pass(const Twiddles& w, const float* const frames[WIDE], const float* window, int lo, int hi,
                       int j, Complex* z) {
    Complex x[4][8];
    for (int i = 0; i < 8; i++) {
        const int at = 2 * (j + 64 * i);
        wide samples[8];
        if (at + 8 <= lo || at >= hi) memset((void*)samples, 0, sizeof samples);
        else load_columns(frames, at, samples);
        for (int p = 0; p < 4; p++)
            x[p][i] = {samples[2 * p] * all<wide>(window[at + 2 * p]), samples[2 * p + 1] * all<wide>(window[at + 2 * p + 1])};
    }
    for (int p = 0; p < 4; p++) butterfly8<true>(x[p], 1, z + j + p, COLUMN, w.first[j + p]);
}

inline void later_passes(const Twiddles& w, Complex* block) {
    for (int j = 0; j < 8; j++) butterfly8<true>(block + j, 8, block + j, 8, w.second[j]);
    for (int j = 0; j < 64; j += 8) butterfly8<false>(block + j, 1, block + j, 1, 0);
}

// Bins k and 512 - k from the FFT's; k at most 256.
inline void split_bins(const Twiddles& w, const Complex* z, int k, wide* power) {
    Complex a = z[w.place[k]], b = z[w.place[HALF - k]];
    wide er = a.re + b.re, ei = a.im - b.im, odd_r = a.im + b.im, odd_i = b.re - a.re;
    wide c = all<wide>(w.split[k][0]), s = all<wide>(w.split[k][1]);
    wide tr = fused(c, odd_r, s * odd_i), ti = fused(c, odd_i, -(s * odd_r));
    wide xr = er + tr, xi = ei + ti, yr = er - tr, yi = ei - ti;
    power[k] = fused(xr, xr, xi * xi), power[HALF - k] = fused(yr, yr, yi * yi);
}

// Powers of bins 0 to 512 of the frames times the window, which is halved and 0 outside of [lo, hi). `z` is for use
// in between.
inline void power_spectrum(const Twiddles& w, const float* const frames[WIDE], const float* window, int lo, int hi,
                           Complex z[POINTS], wide power[HALF + 1]) {
    for (int j = 0; j < 64; j += 4) first_pass(w, frames, window, lo, hi, j, z);
    // Block q holds frequencies q, q + 8 ...; those that belong together are in blocks q and 8 - q.
    for (int q = 0; q <= 4; q++) {
        later_passes(w, z + q * COLUMN);
        if (q % 4) later_passes(w, z + (8 - q) * COLUMN);
        for (int k = q ? q : 8; k <= HALF / 2; k += 8) split_bins(w, z, k, power);
        for (int k = 8 - q; q % 4 && k <= HALF / 2; k += 8) split_bins(w, z, k, power);
    }
    wide even = z[0].re * 2.0f, odd = z[0].im * 2.0f;
    power[0] = (even + odd) * (even + odd), power[HALF] = (even - odd) * (even - odd);
}

}  // namespace
