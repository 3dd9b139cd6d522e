// As many floats at once as the processor's registers hold, four (NEON, SSE), eight (AVX2) or sixteen (AVX-512): GCC's
// vector extension, with intrinsics where the file that includes this is compiled for a processor that has them.
#pragma once
#if defined(__i386__) && !defined(__SSE2_MATH__)
#error "32-bit x86 processors need -msse2 -mfpmath=sse: the old unit rounds otherwise, and the results would be wrong"
#endif
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
#if defined(__ARM_NEON) && !defined(HD_AVX2)
#include <arm_neon.h>
#define HD_NEON 1
#elif defined(__SSE__) && !defined(HD_AVX2)
#include <xmmintrin.h>
#endif

// Before a loop over an array of vectors: GCC else writes the array into memory before it unrolls the loop, and leaves
// some of those writes in.
#define HD_UNROLL _Pragma("GCC unroll 16")

// For what GCC thinks too large and would call instead, its vectors in memory.
#define HD_INLINED __attribute__((always_inline))
#define HD_INLINE inline HD_INLINED

namespace {

typedef float v8 __attribute__((vector_size(32)));
typedef float v8u __attribute__((vector_size(32), aligned(4)));
typedef int32_t i8 __attribute__((vector_size(32)));
const int LANES = 8;

// The widest vector that a register holds, for loops over channels (GCC keeps wider ones in memory); channels come in
// eights, so the last vector of sixteen may be half full.
#if defined(HD_AVX512)
typedef float wide __attribute__((vector_size(64)));
typedef int32_t wide_int __attribute__((vector_size(64)));
#elif defined(HD_AVX2)
typedef v8 wide;
typedef i8 wide_int;
#else
typedef float wide __attribute__((vector_size(16)));
typedef int32_t wide_int __attribute__((vector_size(16)));
#endif
const int WIDE = sizeof(wide) / sizeof(float);
#if defined(HD_AVX512) || defined(__aarch64__)
const int REGISTERS = 32;
#else
const int REGISTERS = 16;
#endif

inline v8 load(const float* p) { return *(const v8u*)p; }
inline void store(float* p, v8 x) { *(v8u*)p = x; }
inline v8 splat(float x) { return v8{x, x, x, x, x, x, x, x}; }

// The vector of whole numbers that is as wide as V.
template <typename V>
struct Whole {
    typedef i8 type;
};
#if defined(HD_AVX512) || !defined(HD_AVX2)
template <>
struct Whole<wide> {
    typedef wide_int type;
};
#endif

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

// `body(V{}, i)` for `n` numbers, a multiple of 8: as many as there are in the widest vectors V, the last may be a v8.
template <typename F>
inline void in_vectors(long n, F body) {
    long i = 0;
    for (; i + WIDE <= n; i += WIDE) body(wide{}, i);
    if (i < n) body(v8{}, i);
}

#ifdef HD_AVX2
inline v8 fused(v8 a, v8 b, v8 c) { return (v8)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
inline v8 larger(v8 a, v8 b) { return (v8)_mm256_max_ps((__m256)a, (__m256)b); }
inline v8 smaller(v8 a, v8 b) { return (v8)_mm256_min_ps((__m256)a, (__m256)b); }
#else
template <typename V>
inline V fused(V a, V b, V c) {
    return a * b + c;
}
template <typename V>
inline V larger(V a, V b) {
    return a > b ? a : b;
}
template <typename V>
inline V smaller(V a, V b) {
    return a < b ? a : b;
}
#ifdef HD_NEON
#ifdef __ARM_FEATURE_FMA
inline wide fused(wide a, wide b, wide c) { return (wide)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
#endif
inline wide larger(wide a, wide b) { return (wide)vmaxq_f32((float32x4_t)a, (float32x4_t)b); }
inline wide smaller(wide a, wide b) { return (wide)vminq_f32((float32x4_t)a, (float32x4_t)b); }
#endif
#endif

#ifdef HD_AVX512
inline wide fused(wide a, wide b, wide c) { return (wide)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
inline wide larger(wide a, wide b) { return (wide)_mm512_max_ps((__m512)a, (__m512)b); }
inline wide smaller(wide a, wide b) { return (wide)_mm512_min_ps((__m512)a, (__m512)b); }
inline wide load_half(const float* p) { return (wide)_mm512_zextps256_ps512((__m256)load(p)); }
inline void store_half(float* p, wide x) { store(p, (v8)_mm512_castps512_ps256((__m512)x)); }

// Two numbers, in turns.
inline wide all_pairs(const float* p) {
    double two;
    memcpy(&two, p, sizeof two);
    return (wide)_mm512_set1_pd(two);
}
inline wide in_pairs(v8 a, v8 b) {
    const __m512i from = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    return (wide)_mm512_permutex2var_ps(_mm512_castps256_ps512((__m256)a), from, _mm512_castps256_ps512((__m256)b));
}
inline v8 sums_of_pairs(wide x) {
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 0, 0, 0, 0, 0, 0, 0, 0);
    const wide sums = x + (wide)_mm512_permute_ps((__m512)x, 0xb1);
    return (v8)_mm512_castps512_ps256(_mm512_permutexvar_ps(even, (__m512)sums));
}
#endif

inline float sum(v8 x) { return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7])); }

// Natural logarithms of N vectors of normal positive numbers, in place, to 1 unit in the last place or so: step by step for
// all of them, since each step waits for the one before. Polynomial: Cephes, logf (S. Moshier).
template <int N, typename V>
inline void to_logs(V* x) {
    typedef typename Whole<V>::type I;
    V m[N], e[N], y[N];
    HD_UNROLL
    for (int i = 0; i < N; i++) {
        const I bits = (I)x[i], exponent = (bits >> 23) - 126;
        m[i] = (V)((bits & 0x007fffff) | 0x3f000000);    // in [0.5, 1)
        const I low = m[i] < all<V>(0.707106781186547524f);  // -1 where true
        m[i] = m[i] + (V)((I)m[i] & low);
        e[i] = __builtin_convertvector(exponent + low, V);
        m[i] = m[i] - 1.0f;
        y[i] = all<V>(7.0376836292e-2f);
    }
    const float rest[8] = {-1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f,
                           -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f};
    HD_UNROLL
    for (int k = 0; k < 8; k++)
        HD_UNROLL
        for (int i = 0; i < N; i++) y[i] = fused(y[i], m[i], all<V>(rest[k]));
    HD_UNROLL
    for (int i = 0; i < N; i++) {
        const V z = m[i] * m[i];
        y[i] = y[i] * m[i] * z;
        y[i] = fused(e[i], all<V>(-2.12194440e-4f), y[i]);
        y[i] = fused(z, all<V>(-0.5f), y[i]);
        x[i] = fused(e[i], all<V>(0.693359375f), m[i] + y[i]);
    }
}

// Of one vector.
template <typename V>
inline V log_of(V x) {
    to_logs<1>(&x);
    return x;
}

#ifdef HD_AVX512
// The same in half the operations: the first four bits of a mantissa choose its part of the logarithm from a table, the
// rest is log(1 + r), |r| <= 1 / 16. Numbers just below 1 have the factor 1/2, so that nothing is lost beside 1.
inline wide log_of(wide x) {
    alignas(64) static const float factor[16] = {
        1.0f, 0.914285719f, 0.864864886f, 0.820512831f, 0.780487776f, 0.744186044f, 0.711111128f, 0.680851042f,
        0.653061211f, 0.627451003f, 0.603773594f, 0.581818163f, 0.561403513f, 0.542372882f, 0.524590135f, 0.5f};
    alignas(64) static const float part[16] = {
        0.0f, 0.0896121531f, 0.145181986f, 0.19782573f, 0.247836201f, 0.295464217f, 0.340926563f, 0.384411731f,
        0.426084416f, 0.466089695f, 0.504555996f, 0.541597314f, 0.577315358f, 0.611801539f, 0.645138017f, 0.693147181f};
    const __m512 m = _mm512_getmant_ps((__m512)x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_zero);
    const __m512i bits = _mm512_srli_epi32((__m512i)x, 19);
    const __m512 c = _mm512_permutexvar_ps(bits, _mm512_load_ps(factor));
    const wide t = (wide)_mm512_permutexvar_ps(bits, _mm512_load_ps(part));
    const wide r = (wide)_mm512_fmsub_ps(m, c, _mm512_set1_ps(1.0f)), z = r * r;
    wide y = fused(r, all<wide>(0.2f), all<wide>(-0.25f));
    y = fused(y, r, all<wide>(0.333333333f));
    y = fused(y, r, all<wide>(-0.5f));
    return fused((wide)_mm512_getexp_ps((__m512)x), all<wide>(0.693147181f), t) + fused(z, y, r);
}
template <int N>
inline void to_logs(wide* x) {
    HD_UNROLL
    for (int i = 0; i < N; i++) x[i] = log_of(x[i]);
}
#endif

// e^x for x from -87 to 88, to 2 units in the last place. Polynomial: Cephes, expf (S. Moshier).
template <typename V>
inline V exp_of(V x) {
    typedef typename Whole<V>::type I;
    const V turns = x * 1.44269504088896341f, magic = all<V>(12582912.0f);  // 1.5 2^23: adding it rounds to whole numbers
    const V n = (turns + magic) - magic;
    V r = fused(n, all<V>(-0.693359375f), x);
    r = fused(n, all<V>(2.12194440e-4f), r);
    V y = all<V>(1.9875691500e-4f);
    y = fused(y, r, all<V>(1.3981999507e-3f));
    y = fused(y, r, all<V>(8.3334519073e-3f));
    y = fused(y, r, all<V>(4.1665795894e-2f));
    y = fused(y, r, all<V>(1.6666665459e-1f));
    y = fused(y, r, all<V>(5.0000001201e-1f));
    y = fused(y * r, r, r) + 1.0f;
    return y * (V)((__builtin_convertvector(n, I) + 127) << 23);
}

template <typename V>
inline V logistic(V x) {
    return 1.0f / (1.0f + exp_of(-smaller(larger(x, all<V>(-80.0f)), all<V>(80.0f))));
}

// Four by four numbers at a time, rows to columns, in every four lanes.
#ifdef HD_AVX2
inline void transpose4(v8 r[4]) {
    __m256 a = _mm256_unpacklo_ps((__m256)r[0], (__m256)r[1]), b = _mm256_unpackhi_ps((__m256)r[0], (__m256)r[1]);
    __m256 c = _mm256_unpacklo_ps((__m256)r[2], (__m256)r[3]), d = _mm256_unpackhi_ps((__m256)r[2], (__m256)r[3]);
    r[0] = (v8)_mm256_shuffle_ps(a, c, 0x44), r[1] = (v8)_mm256_shuffle_ps(a, c, 0xee);
    r[2] = (v8)_mm256_shuffle_ps(b, d, 0x44), r[3] = (v8)_mm256_shuffle_ps(b, d, 0xee);
}
#endif
#if defined(HD_AVX512) || !defined(HD_AVX2)
inline void transpose4(wide r[4]) {
#if defined(HD_AVX512)
    __m512 a = _mm512_unpacklo_ps((__m512)r[0], (__m512)r[1]), b = _mm512_unpackhi_ps((__m512)r[0], (__m512)r[1]);
    __m512 c = _mm512_unpacklo_ps((__m512)r[2], (__m512)r[3]), d = _mm512_unpackhi_ps((__m512)r[2], (__m512)r[3]);
    r[0] = (wide)_mm512_shuffle_ps(a, c, 0x44), r[1] = (wide)_mm512_shuffle_ps(a, c, 0xee);
    r[2] = (wide)_mm512_shuffle_ps(b, d, 0x44), r[3] = (wide)_mm512_shuffle_ps(b, d, 0xee);
#elif defined(HD_NEON)
    const float32x4x2_t a = vtrnq_f32((float32x4_t)r[0], (float32x4_t)r[1]);
    const float32x4x2_t b = vtrnq_f32((float32x4_t)r[2], (float32x4_t)r[3]);
    for (int i = 0; i < 2; i++) {
        r[i] = (wide)vcombine_f32(vget_low_f32(a.val[i]), vget_low_f32(b.val[i]));
        r[2 + i] = (wide)vcombine_f32(vget_high_f32(a.val[i]), vget_high_f32(b.val[i]));
    }
#elif defined(__SSE__)
    __m128 a = (__m128)r[0], b = (__m128)r[1], c = (__m128)r[2], d = (__m128)r[3];
    _MM_TRANSPOSE4_PS(a, b, c, d);
    r[0] = (wide)a, r[1] = (wide)b, r[2] = (wide)c, r[3] = (wide)d;
#else
    float a[4][4], b[4][4];
    memcpy(a, r, sizeof a);
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) b[j][i] = a[i][j];
    memcpy(r, b, sizeof b);
#endif
}
#endif

// Four numbers of each of four rows that lie `4` apart.
inline wide load_quarters(const float* const* rows, long at) {
#if defined(HD_AVX512)
    __m512 x = _mm512_castps128_ps512(_mm_loadu_ps(rows[0] + at));
    x = _mm512_insertf32x4(x, _mm_loadu_ps(rows[4] + at), 1);
    x = _mm512_insertf32x4(x, _mm_loadu_ps(rows[8] + at), 2);
    return (wide)_mm512_insertf32x4(x, _mm_loadu_ps(rows[12] + at), 3);
#elif defined(HD_AVX2)
    __m256 x = _mm256_castps128_ps256(_mm_loadu_ps(rows[0] + at));
    return (v8)_mm256_insertf128_ps(x, _mm_loadu_ps(rows[4] + at), 1);
#else
    return load_as<wide>(rows[0] + at);
#endif
}

// Eight numbers of each of as many rows as a vector has lanes, a row per lane.
inline void load_columns(const float* const rows[WIDE], long at, wide out[8]) {
    for (int half = 0; half < 8; half += 4) {
        for (int i = 0; i < 4; i++) out[half + i] = load_quarters(rows + i, at + half);
        transpose4(out + half);
    }
}

// The way back: eight numbers to each of the first `n` rows. Destroys `in`.
inline void store_columns(wide in[8], float* const rows[WIDE], long at, int n) {
    transpose4(in), transpose4(in + 4);
    for (int i = 0; i < 4; i++)
        for (int half = 0; half < 8; half += 4)
            for (int part = 0; part < WIDE / 4; part++)
                if (i + 4 * part < n) memcpy(rows[i + 4 * part] + at + half, (const char*)&in[half + i] + 16 * part, 16);
}

// Pixels of three channels each.
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

#if defined(HD_AVX512)
inline void store_pixels(float* to, wide a, wide b, wide c) {
    // Where each of 48 numbers comes from: from 16 on, of the second. The third channel is set in afterwards.
    alignas(64) static const int32_t from[3][2][16] = {
        {{0, 16, 0, 1, 17, 0, 2, 18, 0, 3, 19, 0, 4, 20, 0, 5}, {0, 1, 16, 3, 4, 17, 6, 7, 18, 9, 10, 19, 12, 13, 20, 15}},
        {{21, 0, 6, 22, 0, 7, 23, 0, 8, 24, 0, 9, 25, 0, 10, 26}, {0, 21, 2, 3, 22, 5, 6, 23, 8, 9, 24, 11, 12, 25, 14, 15}},
        {{0, 11, 27, 0, 12, 28, 0, 13, 29, 0, 14, 30, 0, 15, 31, 0}, {26, 1, 2, 27, 4, 5, 28, 7, 8, 29, 10, 11, 30, 13, 14, 31}}};
    for (int i = 0; i < 3; i++) {
        const __m512 two = _mm512_permutex2var_ps((__m512)a, _mm512_load_si512(from[i][0]), (__m512)b);
        store_as(to + 16 * i, (wide)_mm512_permutex2var_ps(two, _mm512_load_si512(from[i][1]), (__m512)c));
    }
}
#elif defined(HD_NEON)
inline void store_pixels(float* to, wide a, wide b, wide c) {
    vst3q_f32(to, {(float32x4_t)a, (float32x4_t)b, (float32x4_t)c});
}
#elif !defined(HD_AVX2)
inline void store_pixels(float* to, wide a, wide b, wide c) {
    for (int l = 0; l < WIDE; l++) to[3 * l] = a[l], to[3 * l + 1] = b[l], to[3 * l + 2] = c[l];
}
#endif

enum Act { NONE = 0, RELU = 1, HARDSWISH = 2 };

template <int ACT, typename V>
inline V activate(V x) {
    if (ACT == RELU) return larger(x, V{});
    if (ACT == HARDSWISH) return x * smaller(larger(fused(x, all<V>(1.0f / 6.0f), all<V>(0.5f)), V{}), all<V>(1.0f));
    return x;
}

}  // namespace
