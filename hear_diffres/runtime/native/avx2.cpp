// For x86 processors since 2013 or so; nothing from the C++ library may be included here, since the linker could take
// its inline functions from this file for all others.
#if defined(__x86_64__)
#pragma GCC target("avx2,fma")
#define HD_VARIANT hd_avx2
#define HD_NAME "AVX2"
#include "variant.h"
#endif
