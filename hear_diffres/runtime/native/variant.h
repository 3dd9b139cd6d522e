// Included by the file of each variant, after what tells the compiler which processor it is for.
#include "fourier.h"
#include "resample.h"
#include "table.h"
#include "vectors.h"

namespace {

void* open_any(const int64_t* plan, long n_plan, const float* weights, long n_weights) {
    return open_model(plan, n_plan, weights, n_weights);
}

void close_any(void* model) { free_model((Model*)model); }

long size_of(const void* model) { return ((const Model*)model)->size; }

void* new_space() { return calloc(1, sizeof(Workspace)); }

void free_space(void* space) {
    free(((Workspace*)space)->shared.data);
    for (Arena& arena : ((Workspace*)space)->own) free(arena.data);
    free(space);
}

// Numbers too small to be normal count as 0 while one of these lives: they are slow.
struct Flushed {
#ifdef __SSE__
    const unsigned before = __builtin_ia32_stmxcsr();
    Flushed() { __builtin_ia32_ldmxcsr(before | 0x8040); }
    ~Flushed() { __builtin_ia32_ldmxcsr(before); }
#endif
};

int embed_any(const void* model, void* space, hd_pool* pool, int threads, const float* audio, long n, int at_start,
              long frames, const float* grid, long n_grid, double hop_ms, float* scene, float* times,
              double* stages) {
    const Flushed flushed;
    return embed(*(const Model*)model, *(Workspace*)space, pool, threads, audio, n, at_start, frames, grid, n_grid,
                 hop_ms, scene, times, stages);
}

int resample_any(const hd_filter* filter, const float* in, long group, long count, float* out) {
    return resample(*filter, in, group, count, out);
}

int resample_blocks_any(const hd_blocks* blocks, const float* in, long count, float* out) {
    const Flushed flushed;
    return resample_blocks(*blocks, in, count, out);
}

int mix_any(const void* in, int is_int16, long n, long channels, float* out) {
    return is_int16 ? mixed((const int16_t*)in, n, channels, 1.0f / 32768, out)
                    : mixed((const float*)in, n, channels, 1.0f, out);
}

}  // namespace

extern const hd_engine HD_VARIANT = {HD_NAME, LINE, open_any, close_any, size_of, new_space, free_space,
                                     embed_any, resample_any, resample_blocks_any, mix_any};
