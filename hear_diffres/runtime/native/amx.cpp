// For x86 processors with AMX, which multiply bfloat16 in tiles: never chosen unasked, since results differ in the third
// digit. Nothing from the C++ library may be included here, see avx512.cpp.
#include "table.h"
#if defined(HD_HAS_AMX)
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <immintrin.h>
// Neither compiler defines __AVX2__ and the like for what follows such a pragma in C++ (GCC 12 does not, later ones do).
#define HD_TARGET_AVX2 1
#define HD_TARGET_AVX512 1
#define HD_TARGET_AMX 1
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512vl,avx512dq,avx512bw,avx512bf16"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,avx512f,avx512vl,avx512dq,avx512bw,avx512bf16")
#endif
#define HD_VARIANT hd_amx
#define HD_NAME "AMX"
#include "variant.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
