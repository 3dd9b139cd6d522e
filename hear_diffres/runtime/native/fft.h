// Power spectra of eight real frames of 1024 samples at once, a frame per lane: a complex FFT of 512 points in three
// passes of radix 8 (decimation in frequency, in place), then the usual split of a real signal's even and odd samples.
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

struct Complex8 {
    v8 re, im;
};

inline Complex8 operator+(Complex8 a, Complex8 b) { return {a.re + b.re, a.im + b.im}; }
inline Complex8 operator-(Complex8 a, Complex8 b) { return {a.re - b.re, a.im - b.im}; }
inline Complex8 minus_i(Complex8 a) { return {a.im, -a.re}; }
inline Complex8 times(Complex8 a, const float w[2]) {
    v8 c = splat(w[0]), s = splat(w[1]);
    return {fma8(a.re, c, -(a.im * s)), fma8(a.re, s, a.im * c)};
}

// Eight points `stride` apart, in place; multiplied by twiddles where there are any.
template <bool TWIDDLED>
inline void butterfly8(Complex8* x, int stride, const float (*w)[2]) {
    Complex8 a0 = x[0], a4 = x[4 * stride], a2 = x[2 * stride], a6 = x[6 * stride];
    Complex8 e0 = a0 + a4, e1 = a0 - a4, e2 = a2 + a6, e3 = minus_i(a2 - a6);
    Complex8 f0 = e0 + e2, f2 = e0 - e2, f1 = e1 + e3, f3 = e1 - e3;  // DFT of the even points
    Complex8 b1 = x[stride], b5 = x[5 * stride], b3 = x[3 * stride], b7 = x[7 * stride];
    Complex8 g0 = b1 + b5, g1 = b1 - b5, g2 = b3 + b7, g3 = minus_i(b3 - b7);
    Complex8 h0 = g0 + g2, h2 = minus_i(g0 - g2), h1 = g1 + g3, h3 = g1 - g3;  // of the odd ones
    const v8 r = splat(0.70710678118654752f);
    h1 = {(h1.re + h1.im) * r, (h1.im - h1.re) * r};     // times exp(-i pi / 4)
    h3 = {(h3.im - h3.re) * r, -((h3.re + h3.im) * r)};  // times exp(-3 i pi / 4)
    x[0] = f0 + h0;
    Complex8 y[8] = {f0, f1 + h1, f2 + h2, f3 + h3, f0 - h0, f1 - h1, f2 - h2, f3 - h3};
    for (int q = 1; q < 8; q++) x[q * stride] = TWIDDLED ? times(y[q], w[q]) : y[q];
}

// `z`: 512 complex points at their `point`, even samples as real and odd ones as imaginary parts, halved. Gives the power of bins
// 0 ... n_bins - 1 of the 513. Destroys `z`.
inline void power_spectrum(const Twiddles& w, Complex8* z, v8* power, int n_bins) {
    for (int j = 0; j < 64; j++) butterfly8<true>(z + j, COLUMN, w.first[j]);
    for (int block = 0; block < POINTS; block += COLUMN) {
        for (int j = 0; j < 8; j++) butterfly8<true>(z + block + j, 8, w.second[j]);
        for (int j = 0; j < 64; j += 8) butterfly8<false>(z + block + j, 1, 0);
    }
    v8 even = z[0].re * 2.0f, odd = z[0].im * 2.0f;
    power[0] = (even + odd) * (even + odd);
    if (n_bins > HALF) power[HALF] = (even - odd) * (even - odd);
    for (int k = 1; k <= HALF / 2; k++) {
        Complex8 a = z[w.place[k]], b = z[w.place[HALF - k]];
        v8 er = a.re + b.re, ei = a.im - b.im, odd_r = a.im + b.im, odd_i = b.re - a.re;
        v8 c = splat(w.split[k][0]), s = splat(w.split[k][1]);
        v8 tr = fma8(c, odd_r, s * odd_i), ti = fma8(c, odd_i, -(s * odd_r));
        v8 xr = er + tr, xi = ei + ti, yr = er - tr, yi = ei - ti;
        if (k < n_bins) power[k] = fma8(xr, xr, xi * xi);
        if (HALF - k < n_bins) power[HALF - k] = fma8(yr, yr, yi * yi);
    }
}

}  // namespace
