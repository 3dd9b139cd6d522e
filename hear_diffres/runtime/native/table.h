/* What one compiled variant of the engine offers. */
#pragma once
#include <stdint.h>

#include "pool.h"

typedef struct {
    const char* name;
    void* (*open)(const int64_t* plan, long n_plan, const float* weights, long n_weights);
    void (*close)(void* model);
    long (*size)(const void* model);
    void* (*new_space)(void);
    void (*free_space)(void* space);
    int (*embed)(const void* model, void* space, hd_pool* pool, int threads, const float* audio, long n, int at_start,
                 long frames, const float* grid, long n_grid, double hop_ms, float* scene, float* times,
                 double* stages);
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
