/* What one compiled variant of the engine offers. */
#pragma once
#include <stdint.h>

#include "pool.h"

/* A filter for resampling: see native/resample.py. */
typedef struct {
    const float* coefficients;  // [group][row][output]
    const int64_t* first;       // of each group of outputs, the first sample that it needs, from its period's start
    int64_t groups, rows;       // groups in a period; samples that each of them takes
    int64_t period;             // samples
} hd_filter;

/* A Fourier transform of as many points in every lane of a vector, and then across the lanes: native/fourier.py. */
typedef struct {
    const float* twiddles;    // of every pass, [length / radix][radix] complex
    const float* across;      // [point][real, imaginary][lane]
    const int64_t* place;     // where each frequency is after the passes
    const int64_t* radices;   // of the passes, then 0
    int64_t points;
} hd_transform;

/* Resampling in blocks: see native/fourier.py. */
typedef struct {
    hd_transform in, out;
    const float* response;  // of the filter, [lane][point of `out`]
    int64_t taken, made;    // samples from block to block, and outputs
    int64_t skipped;        // a block's points before the first that is one of those
} hd_blocks;

// What `embed` returns, and hd_embed; of hd_embed_many's sounds all.
enum { HD_DONE = 0, HD_FULL = 1, HD_NO_THREADS = 2, HD_NOT_FINITE = 4 };

typedef struct {
    const char* name;
    int lanes;  // of the vectors that `resample_blocks` works with
    void* (*open)(const int64_t* plan, long n_plan, const float* weights, long n_weights);
    void (*close)(void* model);
    long (*size)(const void* model);
    void* (*new_space)(void);
    void (*free_space)(void* space);
    int (*embed)(const void* model, void* space, hd_pool* pool, int threads, const float* audio, long n, int at_start,
                 long frames, const float* grid, long n_grid, double hop_ms, float* scene, float* times,
                 double* stages);
    int (*resample)(const hd_filter* filter, const float* in, long group, long count, float* out);
    int (*resample_blocks)(const hd_blocks* blocks, const float* in, long count, float* out);
    int (*mix)(const void* in, int is_int16, long n, long channels, float* out);
} hd_engine;

extern const hd_engine hd_generic;
#if defined(__x86_64__)
extern const hd_engine hd_avx2, hd_avx512;
// Compilers of before 2020 do not know the instructions that go with it.
#if (defined(__clang__) && __clang_major__ >= 9) || (!defined(__clang__) && __GNUC__ >= 10)
#define HD_HAS_AMX 1
extern const hd_engine hd_amx;
#endif
#endif
