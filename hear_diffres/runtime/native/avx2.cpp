// For x86 processors since 2013 or so; nothing from the C++ library may be included here, since the linker could take
// its inline functions from this file for all others.
#if defined(__x86_64__)
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <immintrin.h>
// Neither compiler defines __AVX2__ for what follows such a pragma in C++ (GCC 12 does not, later ones do).
#define HD_TARGET_AVX2 1
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define HD_VARIANT hd_avx2
#define HD_NAME "AVX2"
#include "variant.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
