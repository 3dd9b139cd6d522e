// The functions that Python calls through ctypes: open, embed, close; and the choice of the variant.
#include <string.h>

#include <atomic>
#include <mutex>
#include <new>
#include <system_error>
#include <vector>
#ifdef __unix__
#include <unistd.h>
#endif
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#ifdef __linux__
#include <sys/syscall.h>
#endif

#include "api.h"
#include "pool.h"
#include "table.h"

namespace {

#if defined(HD_HAS_AMX)
// Whether the processor has AMX for bfloat16, and the system lets this process use it.
bool has_amx() {
#ifdef __linux__
    static const bool found = [] {
        unsigned a = 0, b, c, d = 0, more = 0;
        if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || a < 1 || !__get_cpuid_count(7, 1, &more, &b, &c, &a)) return false;
        const bool tiles = (d >> 22 & 1) && (d >> 24 & 1), rounds = more >> 5 & 1;  // AMX-BF16, AMX-TILE; AVX512-BF16
        return tiles && rounds && !syscall(SYS_arch_prctl, 0x1023, 18);  // ARCH_REQ_XCOMP_PERM, tile data
    }();
    return found;
#else
    return false;
#endif
}
#endif

// The fastest variant that this processor can run, or the one of this name; null where it cannot run that. AMX, which
// rounds to bfloat16, by its name alone.
const hd_engine* engine(const char* name) {
    const hd_engine* found[3];
    int n = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                        __builtin_cpu_supports("avx512dq");
#if defined(HD_HAS_AMX)
    if (avx512 && !strcmp(name, hd_amx.name)) return __builtin_cpu_supports("avx512bw") && has_amx() ? &hd_amx : nullptr;
#endif
    if (avx512) found[n++] = &hd_avx512;
    if (avx2) found[n++] = &hd_avx2;
#endif
    found[n++] = &hd_generic;
    for (int i = 0; i < n; i++)
        if (!*name || !strcmp(name, found[i]->name)) return found[i];
    return nullptr;
}

struct Space {
    void* data;
    hd_pool* pool;
    long process;  // whose the pool's threads are: a forked child has none of them
};

long this_process() {
#ifdef __unix__
    return (long)getpid();
#else
    return 0;
#endif
}

struct Handle {
    const hd_engine* engine;
    void* model;
    int threads;
    std::mutex mutex;
    std::vector<Space> spare;  // of calls that are over: each call at the same time has its own
};

// `body(handle, space)` with a space that nobody else uses, and a pool of threads in it where that is wanted. Returns what
// it does, or why it was not called.
template <typename Body>
int with_space(Handle* handle, bool pool, Body body) {
    Space space = {nullptr, nullptr, this_process()};
    try {
        {
            std::lock_guard<std::mutex> lock(handle->mutex);
            if (!handle->spare.empty()) space = handle->spare.back(), handle->spare.pop_back();
        }
        if (space.process != this_process()) space.pool = nullptr, space.process = this_process();
        if (!space.data) space.data = handle->engine->new_space();
        if (!space.data) return HD_FULL;
        if (pool && !space.pool && handle->threads > 1) space.pool = hd_pool_open(handle->threads);
        const int failed = body(*handle, space);
        std::lock_guard<std::mutex> lock(handle->mutex);
        handle->spare.push_back(space);
        return failed;
    } catch (const std::system_error&) {
        if (space.data) handle->engine->free_space(space.data);
        return HD_NO_THREADS;
    } catch (...) {
        if (space.data) handle->engine->free_space(space.data);
        return HD_FULL;
    }
}

}  // namespace

extern "C" {
#pragma GCC visibility push(default)

// "AMX", "AVX-512", "AVX2" or "generic": the fastest but AMX for `wanted` = "", else that one; null where this processor
// cannot run it.
const char* hd_variant(const char* wanted) {
    const hd_engine* e = engine(wanted);
    return e ? e->name : nullptr;
}

// Null where the arrays make no model, or where there is no such variant (`hd_variant`).
void* hd_open(const int64_t* plan, long n_plan, const float* weights, long n_weights, int threads,
              const char* variant) {
    const hd_engine* e = engine(variant);
    if (!e) return nullptr;
    void* model = e->open(plan, n_plan, weights, n_weights);
    if (!model) return nullptr;
    Handle* handle = new (std::nothrow) Handle;
    if (!handle) return e->close(model), nullptr;
    handle->engine = e, handle->model = model;
    handle->threads = threads < 1 ? 1 : threads > HD_MAX_THREADS ? HD_MAX_THREADS : threads;
    return handle;
}

void hd_close(void* opened) {
    Handle* handle = (Handle*)opened;
    for (Space& space : handle->spare) {
        if (space.process == this_process()) hd_pool_close(space.pool);
        handle->engine->free_space(space.data);
    }
    handle->engine->close(handle->model);
    delete handle;
}

long hd_size(void* opened) { return ((Handle*)opened)->engine->size(((Handle*)opened)->model); }

// HD_DONE, or HD_FULL: not enough memory; HD_NO_THREADS; HD_NOT_FINITE: a sample. `scene` and `times` (around the `grid`):
// null where it is not wanted. `stages`: null, or room for four times in seconds.
int hd_embed(void* opened, const float* audio, long n, int at_start, long frames, const float* grid, long n_grid,
             double hop_ms, float* scene, float* times, double* stages) {
    return with_space((Handle*)opened, true, [&](const Handle& handle, const Space& space) {
        return handle.engine->embed(handle.model, space.data, space.pool, handle.threads, audio, n, at_start, frames,
                                    grid, n_grid, hop_ms, scene, times, stages);
    });
}

// The same for `count` sounds of one length on end; vectors on end too; all that failed in one number. Where there are
// enough, each has a thread.
int hd_embed_many(void* opened, long count, const float* audio, long n, int at_start, long frames, const float* grid,
                  long n_grid, double hop_ms, float* scenes, float* times) {
    Handle* handle = (Handle*)opened;
    const long size = hd_size(opened);
    std::atomic<int> failed{0};
    auto scene = [&](long i) { return scenes ? scenes + i * size : nullptr; };
    auto rows = [&](long i) { return times ? times + i * n_grid * size : nullptr; };
    if (handle->threads == 1 || count < handle->threads) {
        for (long i = 0; i < count; i++)
            failed |= hd_embed(opened, audio + i * n, n, at_start, frames, grid, n_grid, hop_ms, scene(i), rows(i), 0);
        return failed;
    }
    auto alone = [&](long i) {
        failed |= with_space(handle, false, [&](const Handle& h, const Space& space) {
            return h.engine->embed(h.model, space.data, nullptr, 1, audio + i * n, n, at_start, frames, grid, n_grid,
                                   hop_ms, scene(i), rows(i), nullptr);
        });
    };
    hd_task task = [](void* self, long i, int) { (*(decltype(alone)*)self)(i); };
    failed |= with_space(handle, true, [&](const Handle&, const Space& space) {
        hd_pool_run(space.pool, count, task, &alone);
        return HD_DONE;
    });
    return failed;
}

// `count` groups of outputs, from a group on (of the whole sound); `in`: from the first sample that this one needs to the
// last that they need, and 8 more of any value. 0: done; 1: not enough memory.
int hd_resample(const hd_filter* filter, const float* in, long group, long count, float* out, const char* variant) {
    return !engine(variant)->resample(filter, in, group, count, out);
}

// Lanes that the variant's plans for `hd_resample_blocks` must have.
int hd_lanes(const char* variant) { return engine(variant)->lanes; }

// `count` pairs of blocks; `in`: from the first one's first sample to the last one's last. 0: done; 1: not enough memory.
int hd_resample_blocks(const hd_blocks* blocks, const float* in, long count, float* out, const char* variant) {
    return !engine(variant)->resample_blocks(blocks, in, count, out);
}

// `n` samples of so many channels, int16 or float, to mono floats, full scale 1; 1 where all are finite.
int hd_mix(const void* in, int is_int16, long n, long channels, float* out) {
    return engine("")->mix(in, is_int16, n, channels, out);
}

// 1 where every number is finite.
int hd_finite(const float* x, long n) {
    float sum[16] = {0};
    long i = 0;
    for (; i + 16 <= n; i += 16)
        for (int l = 0; l < 16; l++) sum[l] += x[i + l] * 0.0f;  // NaN for what is not finite
    for (; i < n; i++) sum[0] += x[i] * 0.0f;
    for (int l = 1; l < 16; l++) sum[0] += sum[l];
    return sum[0] == 0.0f;
}
#pragma GCC visibility pop
}
