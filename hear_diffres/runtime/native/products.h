// The backbone's products, which are most of a wide network's work: gemm.h's, or in bfloat16 where the file that includes
// this is compiled for AMX, Intel's unit for tiles of matrices (servers since 2023). Sums stay float32 there.
#pragma once
#include "gemm.h"

namespace {

#ifdef HD_TARGET_AMX

const bool ROUGH = true;
typedef uint16_t half_t;  // a bfloat16: the upper half of a float

const int TILE = 16;         // pixels, outputs, or pairs of inputs
const int INPUTS = 2 * TILE; // of one step
const long ROUGH_BYTES = 1 << 19;  // of the pixels that are turned into bfloat16 at once

inline int padded_to(int n, int step) { return (n + step - 1) / step * step; }

// What `pack_rough` writes, in floats: two weights each.
inline long rough_floats(int k, int n) { return (long)padded_to(k, INPUTS) * padded_to(n, TILE) / 2; }

inline half_t rounded(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (half_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// [k][n] row-major to tiles of 16 outputs and 32 inputs, zeros beyond; a tile's row holds two inputs of every output. All
// tiles of 16 outputs lie together.
inline void pack_rough(const float* w, int k, int n, float* out) {
    half_t* to = (half_t*)out;
    for (int column = 0; column < n; column += TILE) {
        const int here = n - column < TILE ? n - column : TILE;
        for (int i = 0; i < padded_to(k, INPUTS); i += 2, to += 2 * TILE)
            for (int c = 0; c < TILE; c++)
                for (int odd = 0; odd < 2; odd++) {
                    const bool there = c < here && i + odd < k;
                    to[2 * c + odd] = there ? rounded(w[(long)(i + odd) * n + column + c]) : 0;
                }
    }
}

// Pixels turned into bfloat16 at once, by their number of inputs.
inline long rough_pixels(int k) {
    const long n = ROUGH_BYTES / (2L * padded_to(k, INPUTS)) / (2 * TILE) * (2 * TILE);
    return n < 2 * TILE ? 2 * TILE : n > 512 ? 512 : n;
}

// Floats that `multiply` needs to work in.
inline long scratch_floats(int k) { return rough_pixels(k) * padded_to(k, INPUTS) / 2 + 4 * TILE * TILE + 32; }

// The unit's registers: 0 to 3 sums, 4 and 5 pixels, 6 and 7 weights, 16 rows of 64 bytes each. Its instructions stand as
// their bytes, with addresses in rax and strides in rcx: assemblers before 2021 do not know them.
inline void open_tiles() {
    alignas(64) uint8_t shape[64] = {1};  // palette; then bytes per row from 16 on, rows from 48 on
    for (int i = 0; i < 8; i++) shape[16 + 2 * i] = 64, shape[48 + i] = TILE;
    asm volatile(".byte 0xc4, 0xe2, 0x78, 0x49, 0x00" ::"a"(shape) : "memory");  // ldtilecfg
}
inline void close_tiles() { asm volatile(".byte 0xc4, 0xe2, 0x78, 0x49, 0xc0" ::: "memory"); }  // tilerelease

template <int I>
inline void tile_zero() {
    asm volatile(".byte 0xc4, 0xe2, 0x7b, 0x49, %c0" ::"i"(0xc0 + 8 * I));
}
template <int I>
inline void tile_load(const void* from, long bytes) {  // tileloadd
    asm volatile(".byte 0xc4, 0xe2, 0x7b, 0x4b, %c2, 0x08" ::"a"(from), "c"(bytes), "i"(0x04 + 8 * I) : "memory");
}
template <int I>
inline void tile_store(void* to, long bytes) {  // tilestored
    asm volatile(".byte 0xc4, 0xe2, 0x7a, 0x4b, %c2, 0x08" ::"a"(to), "c"(bytes), "i"(0x04 + 8 * I) : "memory");
}
template <int SUM, int A, int B>
inline void tile_multiply() {  // tdpbf16ps
    asm volatile(".byte 0xc4, 0xe2, %c0, 0x5c, %c1" ::"i"((15 - B) * 8 + 2), "i"(0xc0 + 8 * SUM + A));
}

// `k` inputs of a pixel, times their gates where there are any, and zeros up to a whole tile.
template <bool GATED>
inline void roughen(const float* from, const float* gate, int k, half_t* to) {
    auto put = [&](int i, __mmask16 low, __mmask16 high) {
        __m512 a = _mm512_maskz_loadu_ps(low, from + i), b = _mm512_maskz_loadu_ps(high, from + i + TILE);
        if (GATED) {
            a = _mm512_mul_ps(a, _mm512_maskz_loadu_ps(low, gate + i));
            b = _mm512_mul_ps(b, _mm512_maskz_loadu_ps(high, gate + i + TILE));
        }
        const __m512bh both = _mm512_cvtne2ps_pbh(b, a);
        memcpy(to + i, &both, sizeof both);
    };
    int i = 0;
    for (; i + INPUTS <= k; i += INPUTS) put(i, 0xffff, 0xffff);
    if (i < k) {
        const uint32_t left = (1u << (k - i)) - 1;
        put(i, (__mmask16)left, (__mmask16)(left >> TILE));
    }
}

// Sums of up to 32 pixels and 32 outputs into `sums` [4][16][16]: pixels go down, then outputs. `a` [pixels][steps of 32].
template <int AS, int BS>
inline void sum_tiles(const half_t* a, long pitch, const half_t* w, long panel, int steps, float* sums) {
    tile_zero<0>();
    if (AS > 1) tile_zero<1>();
    if (BS > 1) tile_zero<2>();
    if (AS > 1 && BS > 1) tile_zero<3>();
    for (int s = 0; s < steps; s++, a += INPUTS, w += TILE * INPUTS) {
        tile_load<6>(w, 64);
        tile_load<4>(a, 2 * pitch);
        tile_multiply<0, 4, 6>();
        if (AS > 1) tile_load<5>(a + TILE * pitch, 2 * pitch), tile_multiply<1, 5, 6>();
        if (BS > 1) tile_load<7>(w + panel, 64), tile_multiply<2, 4, 7>();
        if (AS > 1 && BS > 1) tile_multiply<3, 5, 7>();
    }
    tile_store<0>(sums, 64);
    if (AS > 1) tile_store<1>(sums + TILE * TILE, 64);
    if (BS > 1) tile_store<2>(sums + 2 * TILE * TILE, 64);
    if (AS > 1 && BS > 1) tile_store<3>(sums + 3 * TILE * TILE, 64);
}

// One pixel's sums of 16 outputs, or 8 of them.
template <int ACT>
inline void finish(const float* sums, int n, const float* bias, const float* residual, float* out) {
    auto get = [&](const float* p) { return n < TILE ? load_half(p) : load_as<wide>(p); };
    wide y = activate<ACT>(load_as<wide>(sums) + get(bias));
    if (residual) y = y + get(residual);
    if (n < TILE) store_half(out, y);
    else store_as(out, y);
}

// Where a pixel lies, counted over rows.
struct Walk {
    const Rows& rows;
    long row, column;

    Walk(const Rows& r, long pixel) : rows(r), row(pixel / r.width), column(pixel % r.width) {}
    long at() const { return row * rows.pitch + column * rows.channels; }
    void step() {
        if (++column == rows.width) column = 0, row++;
    }
};

template <int ACT>
inline void multiply_act(const Rows& a, long rows, int k, const float* packed, const Rows& out, int n,
                         const Epilogue& end, const float* gate, float* scratch) {
    const int padded = padded_to(k, INPUTS), steps = padded / INPUTS;
    const long most = rough_pixels(k), pixels = rows * a.width, panel = (long)TILE * padded;
    float* sums = (float*)(((uintptr_t)scratch + 63) / 64 * 64);
    half_t* rough = (half_t*)(sums + 4 * TILE * TILE);
    open_tiles();
    for (long p0 = 0; p0 < pixels; p0 += most) {
        const long p1 = p0 + most < pixels ? p0 + most : pixels;
        Walk from(a, p0);
        for (long p = p0; p < p1; p++, from.step()) {
            half_t* to = rough + (p - p0) * padded;
            if (gate) roughen<true>(a.data + from.at(), gate, k, to);
            else roughen<false>(a.data + from.at(), 0, k, to);
        }
        for (int column = 0; column < n; column += 2 * TILE) {
            const half_t* w = (const half_t*)packed + column / TILE * panel;
            const bool two = column + TILE < n;
            Walk to(out, p0);
            for (long p = p0; p < p1; p += 2 * TILE) {
                const half_t* x = rough + (p - p0) * padded;
                const int here = (int)(p1 - p < 2 * TILE ? p1 - p : 2 * TILE);
                if (here > TILE && two) sum_tiles<2, 2>(x, padded, w, panel, steps, sums);
                else if (here > TILE) sum_tiles<2, 1>(x, padded, w, panel, steps, sums);
                else if (two) sum_tiles<1, 2>(x, padded, w, panel, steps, sums);
                else sum_tiles<1, 1>(x, padded, w, panel, steps, sums);
                for (int i = 0; i < here; i++, to.step()) {
                    const long at = to.at() + column;
                    const float* residual = end.residual ? end.residual + at : 0;
                    finish<ACT>(sums + i * TILE, n - column, end.bias + column, residual, out.data + at);
                    if (two)
                        finish<ACT>(sums + (i + 2 * TILE) * TILE, n - column - TILE, end.bias + column + TILE,
                                    residual ? residual + TILE : 0, out.data + at + TILE);
                }
            }
        }
    }
    close_tiles();
}

// As `gemm`, with weights that `pack_rough` packed; where they are ROUGH, inputs times `gate`, unless it is null.
inline void multiply(const Rows& a, long rows, int k, const float* packed, const Rows& out, int n, int act,
                     const Epilogue& end, const float* gate, float* scratch) {
    if (act == RELU) multiply_act<RELU>(a, rows, k, packed, out, n, end, gate, scratch);
    else if (act == HARDSWISH) multiply_act<HARDSWISH>(a, rows, k, packed, out, n, end, gate, scratch);
    else multiply_act<NONE>(a, rows, k, packed, out, n, end, gate, scratch);
}

#else

const bool ROUGH = false;
inline long rough_floats(int k, int n) { return packed_floats(k, n); }
inline long scratch_floats(int) { return 0; }
inline void pack_rough(const float* w, int k, int n, float* out) { pack(w, k, n, out); }
inline void multiply(const Rows& a, long rows, int k, const float* packed, const Rows& out, int n, int act,
                     const Epilogue& end, const float*, float*) {
    gemm(a, rows, k, packed, out, n, act, end);
}

#endif

}  // namespace
