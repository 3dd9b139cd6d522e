// For x86 processors with AVX-512 (servers since 2017, AMD since 2022); nothing from the C++ library may be included
// here, since the linker could take its inline functions from this file for all others.
#if defined(__x86_64__)
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <immintrin.h>
// Neither compiler defines __AVX2__ and the like for what follows such a pragma in C++ (GCC 12 does not, later ones do).
#define HD_TARGET_AVX2 1
#define HD_TARGET_AVX512 1
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512vl,avx512dq"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,avx512f,avx512vl,avx512dq")
#endif
#define HD_VARIANT hd_avx512
#define HD_NAME "AVX-512"
#include "variant.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
