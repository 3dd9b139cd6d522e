/* The functions of api.cpp, which Python calls through ctypes; file.cpp and sound.cpp build upon them. */
#pragma once
#include <stdint.h>

#include "table.h"

extern "C" {
const char* hd_variant(const char* wanted);
void* hd_open(const int64_t* plan, long n_plan, const float* weights, long n_weights, int threads,
              const char* variant);
void hd_close(void* opened);
long hd_size(void* opened);
int hd_embed(void* opened, const float* audio, long n, int at_start, long frames, const float* grid, long n_grid,
             double hop_ms, float* scene, float* times, double* stages);
int hd_embed_many(void* opened, long count, const float* audio, long n, int at_start, long frames, const float* grid,
                  long n_grid, double hop_ms, float* scenes, float* times);
int hd_resample(const hd_filter* filter, const float* in, long group, long count, float* out, const char* variant);
int hd_lanes(const char* variant);
int hd_resample_blocks(const hd_blocks* blocks, const float* in, long count, float* out, const char* variant);
int hd_mix(const void* in, int is_int16, long n, long channels, float* out);
int hd_finite(const float* x, long n);
}
