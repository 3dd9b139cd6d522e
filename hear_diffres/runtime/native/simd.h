// Eight floats at once: GCC's vector extension, with AVX2 intrinsics where the file that includes this is compiled for it.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#define HD_AVX2 1
#endif

namespace {

typedef float v8 __attribute__((vector_size(32)));
typedef float v8u __attribute__((vector_size(32), aligned(4)));
typedef int32_t i8 __attribute__((vector_size(32)));
const int LANES = 8;

inline v8 load(const float* p) { return *(const v8u*)p; }
inline void store(float* p, v8 x) { *(v8u*)p = x; }
inline v8 splat(float x) { return v8{x, x, x, x, x, x, x, x}; }
inline i8 splat_int(int32_t x) { return i8{x, x, x, x, x, x, x, x}; }

#ifdef HD_AVX2
inline v8 fma8(v8 a, v8 b, v8 c) { return (v8)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
inline v8 max8(v8 a, v8 b) { return (v8)_mm256_max_ps((__m256)a, (__m256)b); }
inline v8 min8(v8 a, v8 b) { return (v8)_mm256_min_ps((__m256)a, (__m256)b); }
inline v8 to_float(i8 x) { return (v8)_mm256_cvtepi32_ps((__m256i)x); }
inline i8 to_int(v8 x) { return (i8)_mm256_cvttps_epi32((__m256)x); }
#else
inline v8 fma8(v8 a, v8 b, v8 c) { return a * b + c; }
inline v8 max8(v8 a, v8 b) { return a > b ? a : b; }
inline v8 min8(v8 a, v8 b) { return a < b ? a : b; }
inline v8 to_float(i8 x) { return __builtin_convertvector(x, v8); }
inline i8 to_int(v8 x) { return __builtin_convertvector(x, i8); }
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
    y = fma8(y, m, splat(-1.1514610310e-1f));
    y = fma8(y, m, splat(1.1676998740e-1f));
    y = fma8(y, m, splat(-1.2420140846e-1f));
    y = fma8(y, m, splat(1.4249322787e-1f));
    y = fma8(y, m, splat(-1.6668057665e-1f));
    y = fma8(y, m, splat(2.0000714765e-1f));
    y = fma8(y, m, splat(-2.4999993993e-1f));
    y = fma8(y, m, splat(3.3333331174e-1f));
    y = y * m * z;
    y = fma8(e, splat(-2.12194440e-4f), y);
    y = fma8(z, splat(-0.5f), y);
    return fma8(e, splat(0.693359375f), m + y);
}

// Eight rows of eight to eight columns.
inline void transpose8(v8 r[8]) {
#ifdef HD_AVX2
    __m256 t[8], u[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps((__m256)r[i], (__m256)r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps((__m256)r[i], (__m256)r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = (v8)_mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
        r[i + 4] = (v8)_mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
#else
    float a[8][8], b[8][8];
    memcpy(a, r, sizeof a);
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 8; j++) b[j][i] = a[i][j];
    memcpy(r, b, sizeof b);
#endif
}

enum Act { NONE = 0, RELU = 1, HARDSWISH = 2 };

template <int ACT>
inline v8 activate(v8 x) {
    if (ACT == RELU) return max8(x, splat(0.0f));
    if (ACT == HARDSWISH) return x * min8(max8(x + 3.0f, splat(0.0f)), splat(6.0f)) * splat(1.0f / 6.0f);
    return x;
}

}  // namespace
