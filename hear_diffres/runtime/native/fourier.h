// Other sample rates by Fourier transforms of overlapping blocks: a block's spectrum times the filter's, as much of it as
// the new rate holds, and back at the new length. Two blocks at a time, one the real and one the imaginary part of a
// complex block, since the filter is real.
//
// A block of L N points (L lanes of a vector): point L i + l is lane l of vector i, so every lane takes a transform of N
// points by itself, and one of L points across the lanes completes it; on the way back the same in reverse.
#pragma once
#include "fft.h"
#include "model.h"
#include "table.h"

namespace {

#ifdef HD_AVX2
typedef v8 line;
HD_INLINE void transpose_lines(line r[8]) {
    transpose4(r), transpose4(r + 4);
    HD_UNROLL
    for (int i = 0; i < 4; i++) {
        const __m256 upper = (__m256)r[i], lower = (__m256)r[i + 4];
        r[i] = (line)_mm256_permute2f128_ps(upper, lower, 0x20);
        r[i + 4] = (line)_mm256_permute2f128_ps(upper, lower, 0x31);
    }
}
#else
typedef wide line;
HD_INLINE void transpose_lines(line r[4]) { transpose4(r); }
#endif
const int LINE = sizeof(line) / sizeof(float);
typedef ComplexOf<line> Point;

// R points to R frequencies: of an odd number the points j and R - j go together, since their factors are conjugates.
template <int R>
HD_INLINE void butterfly(const Point* x, int step, Point* out, int stride, const float (*w)[2]) {
    static const float cosines[10][9] = {
        {}, {}, {}, {1, -0.5f, -0.5f}, {}, {1, 0.309016994f, -0.809016994f, -0.809016994f, 0.309016994f}, {},
        {1, 0.623489802f, -0.222520934f, -0.900968868f, -0.900968868f, -0.222520934f, 0.623489802f}, {},
        {1, 0.766044443f, 0.173648178f, -0.5f, -0.939692621f, -0.939692621f, -0.5f, 0.173648178f, 0.766044443f}};
    static const float sines[10][9] = {
        {}, {}, {}, {0, 0.866025404f, -0.866025404f}, {},
        {0, 0.951056516f, 0.587785252f, -0.587785252f, -0.951056516f}, {},
        {0, 0.781831482f, 0.974927912f, 0.433883739f, -0.433883739f, -0.974927912f, -0.781831482f}, {},
        {0, 0.642787610f, 0.984807753f, 0.866025404f, 0.342020143f, -0.342020143f, -0.866025404f, -0.984807753f,
         -0.642787610f}};
    constexpr int H = R / 2;
    line re[R], im[R];
    // A part of the frequencies at a time, from sums of one part of the points and differences of the other.
    auto half = [&](line first, const line* sums, const line* rests, line* y) HD_INLINED {
        line total = first;
        HD_UNROLL
        for (int j = 0; j < H; j++) total = total + sums[j];
        y[0] = total;
        HD_UNROLL
        for (int k = 1; k <= H; k++) {
            line c = first, s = line{};
            HD_UNROLL
            for (int j = 0; j < H; j++) {
                c = fused(sums[j], all<line>(cosines[R][k * (j + 1) % R]), c);
                s = fused(rests[j], all<line>(sines[R][k * (j + 1) % R]), s);
            }
            y[k] = c + s, y[R - k] = c - s;
        }
    };
    line sums[H], rests[H];
    HD_UNROLL
    for (int j = 1; j <= H; j++) {
        sums[j - 1] = x[j * step].re + x[(R - j) * step].re, rests[j - 1] = x[j * step].im - x[(R - j) * step].im;
    }
    half(x[0].re, sums, rests, re);
    HD_UNROLL
    for (int j = 1; j <= H; j++) {
        sums[j - 1] = x[j * step].im + x[(R - j) * step].im, rests[j - 1] = x[(R - j) * step].re - x[j * step].re;
    }
    half(x[0].im, sums, rests, im);
    out[0] = {re[0], im[0]};
    HD_UNROLL
    for (int q = 1; q < R; q++) {
        const Point y = {re[q], im[q]};
        out[q * stride] = w ? times(y, w[q]) : y;
    }
}

template <>
HD_INLINE void butterfly<2>(const Point* x, int step, Point* out, int stride, const float (*w)[2]) {
    const Point a = x[0], b = x[step], d = a - b;
    out[0] = a + b;
    out[stride] = w ? times(d, w[1]) : d;
}

template <>
HD_INLINE void butterfly<4>(const Point* x, int step, Point* out, int stride, const float (*w)[2]) {
    const Point a = x[0], b = x[step], c = x[2 * step], d = x[3 * step];
    const Point e = a + c, f = a - c, g = b + d, h = minus_i(b - d), y[4] = {e + g, f + h, e - g, f - h};
    out[0] = y[0];
    for (int q = 1; q < 4; q++) out[q * stride] = w ? times(y[q], w[q]) : y[q];
}

template <>
HD_INLINE void butterfly<8>(const Point* x, int step, Point* out, int stride, const float (*w)[2]) {
    if (w) butterfly8<true>(x, step, out, stride, w);
    else butterfly8<false>(x, step, out, stride, w);
}

// One pass over `n` points in parts of `length`. Twiddles [length / R][R].
template <int R>
inline void pass(Point* z, long n, long length, const float (*w)[2]) {
    const int step = (int)(length / R);
    for (long part = 0; part < n; part += length)
        if (step > 1)
            for (int j = 0; j < step; j++) butterfly<R>(z + part + j, step, z + part + j, step, w + j * R);
        else butterfly<R>(z + part, step, z + part, step, 0);
}

// Every lane's transform, in place; frequency k ends up at t.place[k].
inline void transform(const hd_transform& t, Point* z) {
    const float(*w)[2] = (const float(*)[2])t.twiddles;
    long length = t.points;
    for (const int64_t* radix = t.radices; *radix; radix++) {
        if (*radix == 8) pass<8>(z, t.points, length, w);
        else if (*radix == 4) pass<4>(z, t.points, length, w);
        else if (*radix == 2) pass<2>(z, t.points, length, w);
        else if (*radix == 3) pass<3>(z, t.points, length, w);
        else if (*radix == 5) pass<5>(z, t.points, length, w);
        else if (*radix == 7) pass<7>(z, t.points, length, w);
        else pass<9>(z, t.points, length, w);
        w += length, length /= *radix;
    }
}

// Samples to the spectrum: bins below half in their places, those above `gap` later.
inline void to_spectrum(const hd_transform& t, Point* z, long gap, float* re, float* im) {
    transform(t, z);
    for (long k = 0; k < t.points; k += LINE) {
        const long at = k + LINE <= t.points ? k : t.points - LINE;
        line a[LINE], b[LINE];
        HD_UNROLL
        for (int i = 0; i < LINE; i++) {
            const float* w = t.across + (at + i) * 2 * LINE;
            const Point x = times(z[t.place[at + i]], load_as<line>(w), load_as<line>(w + LINE));
            a[i] = x.re, b[i] = x.im;
        }
        transpose_lines(a), transpose_lines(b);
        Point y[LINE];
        HD_UNROLL
        for (int l = 0; l < LINE; l++) y[l] = {a[l], b[l]};
        butterfly<LINE>(y, 1, y, 1, 0);
        HD_UNROLL
        for (int l = 0; l < LINE; l++) {
            const long to = at + l * t.points + (l < LINE / 2 ? 0 : gap);
            store_as(re + to, y[l].re), store_as(im + to, y[l].im);
        }
    }
}

// A spectrum times the filter's, the second half `gap` later, to samples: real and imaginary parts have changed places,
// before and after, which makes the transform the one back.
inline void to_samples(const hd_transform& t, const float* response, const float* re, const float* im, long gap,
                       Point* z) {
    for (long k = 0; k < t.points; k += LINE) {
        const long at = k + LINE <= t.points ? k : t.points - LINE;
        Point y[LINE];
        HD_UNROLL
        for (int l = 0; l < LINE; l++) {
            const long place = at + l * t.points, from = place + (l < LINE / 2 ? 0 : gap);
            const line h = load_as<line>(response + place);
            y[l] = {load_as<line>(im + from) * h, load_as<line>(re + from) * h};
        }
        butterfly<LINE>(y, 1, y, 1, 0);
        line a[LINE], b[LINE];
        HD_UNROLL
        for (int l = 0; l < LINE; l++) a[l] = y[l].re, b[l] = y[l].im;
        transpose_lines(a), transpose_lines(b);
        HD_UNROLL
        for (int i = 0; i < LINE; i++) {
            const float* w = t.across + (at + i) * 2 * LINE;
            z[at + i] = times(Point{a[i], b[i]}, load_as<line>(w), load_as<line>(w + LINE));
        }
    }
    transform(t, z);
}

// `count` pairs of blocks. `in`: the first sample of the first; `out`: 2 f.made outputs of each.
inline bool resample_blocks(const hd_blocks& f, const float* in, long count, float* out) {
    const long n_in = f.in.points, n_out = f.out.points, n = n_in > n_out ? n_in : n_out;
    const long bins = n * LINE + LINE;
    float* room = floats(2 * n * LINE + 2 * bins);
    if (!room) return false;
    Point* z = (Point*)room;
    float *re = room + 2 * n * LINE, *im = re + bins;
    memset(re, 0, 2 * bins * sizeof(float));
    const long longer = n_out > n_in ? (n_out - n_in) * LINE : 0, shorter = n_in > n_out ? (n_in - n_out) * LINE : 0;
    const line less = all<line>(1.0f / 65536), more = all<line>(65536.0f);  // so that no sum of finite samples is infinite
    for (; count > 0; count--, in += 2 * f.taken, out += 2 * f.made) {
        for (long i = 0; i < n_in; i++)
            z[i] = {load_as<line>(in + i * LINE) * less, load_as<line>(in + f.taken + i * LINE) * less};
        to_spectrum(f.in, z, longer, re, im);
        to_samples(f.out, f.response, re, im, shorter, z);
        for (long i = 0; i < f.made / LINE; i++) {
            const Point x = z[f.out.place[f.skipped / LINE + i]];
            store_as(out + i * LINE, x.im * more), store_as(out + f.made + i * LINE, x.re * more);
        }
    }
    free(room);
    return true;
}

}  // namespace
