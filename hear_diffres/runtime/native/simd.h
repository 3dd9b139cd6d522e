// Eight floats at once, and sixteen where there is AVX-512: GCC's vector extension, with intrinsics where the file that
// includes this is compiled for a processor that has them.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(HD_TARGET_AVX2) || (defined(__AVX2__) && defined(__FMA__))
#include <immintrin.h>
#define HD_AVX2 1
#endif
#if defined(HD_TARGET_AVX512) || (defined(__AVX512VL__) && defined(__AVX512DQ__))
#define HD_AVX512 1
#endif

namespace {

typedef float v8 __attribute__((vector_size(32)));
typedef float v8u __attribute__((vector_size(32), aligned(4)));
typedef int32_t i8 __attribute__((vector_size(32)));
const int LANES = 8;

// The widest vector there is, for loops over channels; channels come in eights, so the last vector may be half full.
#ifdef HD_AVX512
typedef float wide __attribute__((vector_size(64)));
#else
typedef v8 wide;
#endif
const int WIDE = sizeof(wide) / sizeof(float);

inline v8 load(const float* p) { return *(const v8u*)p; }
inline void store(float* p, v8 x) { *(v8u*)p = x; }
inline v8 splat(float x) { return v8{x, x, x, x, x, x, x, x}; }
inline i8 splat_int(int32_t x) { return i8{x, x, x, x, x, x, x, x}; }

// The same for either vector.
template <typename V>
inline V load_as(const float* p) {
    V x;
    memcpy(&x, p, sizeof x);
    return x;
}
template <typename V>
inline void store_as(float* p, V x) {
    memcpy(p, &x, sizeof x);
}
template <typename V>
inline V all(float x) {
    return x - V{};
}

#ifdef HD_AVX2
inline v8 fused(v8 a, v8 b, v8 c) { return (v8)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
inline v8 larger(v8 a, v8 b) { return (v8)_mm256_max_ps((__m256)a, (__m256)b); }
inline v8 smaller(v8 a, v8 b) { return (v8)_mm256_min_ps((__m256)a, (__m256)b); }
inline v8 to_float(i8 x) { return (v8)_mm256_cvtepi32_ps((__m256i)x); }
inline i8 to_int(v8 x) { return (i8)_mm256_cvttps_epi32((__m256)x); }
#else
#ifdef __ARM_NEON
#include <arm_neon.h>
inline v8 fused(v8 a, v8 b, v8 c) {
    float32x4_t x[2], y[2], z[2];
    memcpy(x, &a, 32), memcpy(y, &b, 32), memcpy(z, &c, 32);
    z[0] = vfmaq_f32(z[0], x[0], y[0]), z[1] = vfmaq_f32(z[1], x[1], y[1]);
    memcpy(&c, z, 32);
    return c;
}
#else
inline v8 fused(v8 a, v8 b, v8 c) { return a * b + c; }
#endif
inline v8 larger(v8 a, v8 b) { return a > b ? a : b; }
inline v8 smaller(v8 a, v8 b) { return a < b ? a : b; }
inline v8 to_float(i8 x) { return __builtin_convertvector(x, v8); }
inline i8 to_int(v8 x) { return __builtin_convertvector(x, i8); }
#endif

#ifdef HD_AVX512
inline wide fused(wide a, wide b, wide c) { return (wide)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
inline wide larger(wide a, wide b) { return (wide)_mm512_max_ps((__m512)a, (__m512)b); }
inline wide smaller(wide a, wide b) { return (wide)_mm512_min_ps((__m512)a, (__m512)b); }
inline wide load_half(const float* p) { return (wide)_mm512_zextps256_ps512((__m256)load(p)); }
inline void store_half(float* p, wide x) { store(p, (v8)_mm512_castps512_ps256((__m512)x)); }
#else
inline wide load_half(const float* p) { return load(p); }  // never called: no vector is half full
inline void store_half(float* p, wide x) { store(p, x); }
#endif

inline float sum(v8 x) { return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7])); }

// Natural logarithm of normal positive numbers, to 1 unit in the last place or so. Polynomial: Cephes, logf (S. Moshier).
inline v8 log8(v8 x) {
    i8 bits = (i8)x;
    i8 exponent = (bits >> 23) - 126;
    v8 m = (v8)((bits & 0x007fffff) | 0x3f000000);  // in [0.5, 1)
    i8 low = m < splat(0.707106781186547524f);      // -1 where true
    m = m + (v8)((i8)m & low);
    v8 e = to_float(exponent + low);
    m = m - 1.0f;
    v8 z = m * m;
    v8 y = splat(7.0376836292e-2f);
    y = fused(y, m, splat(-1.1514610310e-1f));
    y = fused(y, m, splat(1.1676998740e-1f));
    y = fused(y, m, splat(-1.2420140846e-1f));
    y = fused(y, m, splat(1.4249322787e-1f));
    y = fused(y, m, splat(-1.6668057665e-1f));
    y = fused(y, m, splat(2.0000714765e-1f));
    y = fused(y, m, splat(-2.4999993993e-1f));
    y = fused(y, m, splat(3.3333331174e-1f));
    y = y * m * z;
    y = fused(e, splat(-2.12194440e-4f), y);
    y = fused(z, splat(-0.5f), y);
    return fused(e, splat(0.693359375f), m + y);
}

// Four by four numbers at a time, rows to columns.
inline void transpose4(v8 r[4]) {
#ifdef HD_AVX2
    __m256 a = _mm256_unpacklo_ps((__m256)r[0], (__m256)r[1]), b = _mm256_unpackhi_ps((__m256)r[0], (__m256)r[1]);
    __m256 c = _mm256_unpacklo_ps((__m256)r[2], (__m256)r[3]), d = _mm256_unpackhi_ps((__m256)r[2], (__m256)r[3]);
    r[0] = (v8)_mm256_shuffle_ps(a, c, 0x44), r[1] = (v8)_mm256_shuffle_ps(a, c, 0xee);
    r[2] = (v8)_mm256_shuffle_ps(b, d, 0x44), r[3] = (v8)_mm256_shuffle_ps(b, d, 0xee);
#else
    float a[4][8], b[4][8];
    memcpy(a, r, sizeof a);
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) b[j][i] = a[i][j], b[j][i + 4] = a[i][j + 4];
    memcpy(r, b, sizeof b);
#endif
}

// Eight numbers of each of eight rows, a row per lane.
inline void load_columns(const float* const rows[8], long at, v8 out[8]) {
    for (int half = 0; half < 8; half += 4) {
        for (int i = 0; i < 4; i++) {
            const float *low = rows[i] + at + half, *high = rows[i + 4] + at + half;
#ifdef HD_AVX2
            out[half + i] = (v8)_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(low)), _mm_loadu_ps(high), 1);
#else
            memcpy(&out[half + i], low, 16), memcpy((char*)&out[half + i] + 16, high, 16);
#endif
        }
        transpose4(out + half);
    }
}

// The way back: eight numbers to each of the first `n` rows. Destroys `in`.
inline void store_columns(v8 in[8], float* const rows[8], long at, int n) {
    transpose4(in), transpose4(in + 4);
    for (int i = 0; i < 4; i++)
        for (int half = 0; half < 8; half += 4) {
            const char* both = (const char*)&in[half + i];
            if (i < n) memcpy(rows[i] + at + half, both, 16);
            if (i + 4 < n) memcpy(rows[i + 4] + at + half, both + 16, 16);
        }
}

// Eight pixels of three channels each.
inline void store_pixels(float* to, v8 a, v8 b, v8 c) {
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define HD_SHUFFLE 1
#endif
#endif
#ifdef HD_SHUFFLE
    v8 x = __builtin_shufflevector(a, b, 0, 8, 0, 1, 9, 0, 2, 10), y = __builtin_shufflevector(a, b, 0, 3, 11, 0, 4, 12, 0, 5);
    v8 z = __builtin_shufflevector(a, b, 13, 0, 6, 14, 0, 7, 15, 0);
    store(to, __builtin_shufflevector(x, c, 0, 1, 8, 3, 4, 9, 6, 7));
    store(to + 8, __builtin_shufflevector(y, c, 10, 1, 2, 11, 4, 5, 12, 7));
    store(to + 16, __builtin_shufflevector(z, c, 0, 13, 2, 3, 14, 5, 6, 15));
#else
    for (int l = 0; l < LANES; l++) to[3 * l] = a[l], to[3 * l + 1] = b[l], to[3 * l + 2] = c[l];
#endif
}

enum Act { NONE = 0, RELU = 1, HARDSWISH = 2 };

template <int ACT, typename V>
inline V activate(V x) {
    if (ACT == RELU) return larger(x, V{});
    if (ACT == HARDSWISH) return x * smaller(larger(x + 3.0f, V{}), all<V>(6.0f)) * (1.0f / 6.0f);
    return x;
}

}  // namespace
