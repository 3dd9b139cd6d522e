// What a call has: its memory, which is kept for the next, and what its parts hand to each other.
#pragma once
#include <time.h>

#include "active.h"
#include "mobilenet.h"
#include "pool.h"

namespace {

// Buffers of one call, kept between calls: fresh memory has to be cleared by the system at every page.
struct Arena {
    float* data = 0;
    long size = 0, used = 0;

    void reserve(long n) {
        if (n > size) free(data), data = floats(n), size = n;
        used = 0;
    }
    float* take(long n) {
        float* here = data + used;
        used += (n + 15) / 16 * 16;
        return here;
    }
};

inline double seconds() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + 1e-9 * now.tv_nsec;
}

struct Workspace {
    Arena shared, own[HD_MAX_THREADS];
};

struct Sequence {  // a tap over time
    const float* data = 0;
    long steps = 0;
    int channels = 0, stride = 1;
    const float* weight = 0;
    const float* mean = 0;  // over time, where it was made when the tap was
};

// Weighted mean over time of `[steps][channels]`, channels in eights; four steps at a time, since `out` is read and
// written for each.
inline void time_mean(const Sequence& s, float* out) {
    memset(out, 0, s.channels * sizeof(float));
    float total = 0;
    for (long t = 0; t < s.steps; t += 4) {
        float w[4];
        const float* rows[4];
        for (int i = 0; i < 4; i++) {
            const long at = t + i < s.steps ? t + i : t;
            w[i] = t + i >= s.steps ? 0.0f : s.weight ? s.weight[at] : 1.0f;
            rows[i] = s.data + at * s.channels, total += w[i];
        }
        in_vectors(s.channels, [&](auto kind, long c) {
            typedef decltype(kind) V;
            V sum = load_as<V>(out + c);
            for (int i = 0; i < 4; i++) sum = fused(load_as<V>(rows[i] + c), all<V>(w[i]), sum);
            store_as(out + c, sum);
        });
    }
    total = total > 1e-6f ? total : 1e-6f;
    for (int c = 0; c < s.channels; c++) out[c] /= total;
}

struct Call {
    const Model& m;
    Workspace& space;
    hd_pool* pool;
    int threads;
    bool scene;
    long frames, kept;  // kept: frames that DiffRes takes, the others being dropped
    float *logmel, *power, *logs, *merged;  // the last two: of merged bands and kept frames, or the first two again
    long* index;    // kept frames, or null for all
    float* weight;  // of each where they are merged, or null
    Bins bins;
    double* merging;  // seconds that each thread spends on DiffRes, or null
    Sequence taps[MAX_BLOCKS + 1], deviations[MAX_BLOCKS + 1], squeezed[MAX_BLOCKS + 1], last;
    Sequence mels = {};  // means of the log-mel over FRAMES frames each, where a scene is asked for

    template <typename F>
    void parallel(long tasks, F body) {
        struct Both {
            F& body;
            static void run(void* self, long task, int thread) { ((Both*)self)->body(task, thread); }
        } both = {body};
        hd_pool_run(pool, tasks, Both::run, &both);
    }
};

// Floats of `shared` that a call needs, generously.
inline long shared_floats(const Model& m, long samples, long frames) {
    const long bins = total_bins(m.merging, frames);
    long total = samples + 2 + frames * (2L * m.front.n_mels + 2 * m.merging.bands);
    total += (frames / FRAMES + 1) * (m.front.n_mels + 2) + 48;
    if (m.merging.stay < 1) total += frames * (2L * m.merging.bands + 3) + active_floats(m.merging, frames) + 64;
    total += 3 * (frames / m.merging.block_frames + 2) * picture_pitch(m.merging) + 8 * bins;
    long steps = half_up(bins), width = (m.merging.bands + 1) / 2;
    total += steps * width * m.stem.channels + 3 * steps * m.stem.channels;
    for (int i = 0; i < m.n_blocks; i++) {
        const Block& b = m.blocks[i];
        if (b.depthwise.stride == 2) steps = half_up(steps), width = half_up(width);
        total += steps * width * (b.project.out + (b.has_se ? b.depthwise.channels : 0));
        total += steps * (3 * b.project.out + (b.has_se ? b.squeeze.out + b.depthwise.channels : 0) + 1);
        total += 2 * b.project.out + (b.has_se ? b.squeeze.out : 0);
        total += packed_floats(b.project.in, b.project.out) + (4 + steps) * (long)b.depthwise.channels;
        total += 16 * 16;
    }
    if (m.has_last) total += steps * width * (long)m.last.out + (steps + 1) * m.last.out;
    return total + 2 * m.stem.channels + 4096;
}

// Floats that a block's products work in.
inline long own_scratch(const Block& b) {
    const long project = scratch_floats(b.project.in), expand = b.has_expand ? scratch_floats(b.expand.in) : 0;
    return project > expand ? project : expand;
}

inline long own_floats(const Model& m, long kept) {
    const long block = span_of(m.merging, kept), width = m.merging.width ? m.merging.width : 8;
    long most = block * (2 * width + 1) + 8 * block + 3 * m.merging.bands + 512;
    most += (RING + 1) * picture_pitch(m.merging);
    const long picture = log_mel_floats(m.front) + 64;
    most = picture > most ? picture : most;
    int w = (m.merging.bands + 1) / 2;
    for (int i = 0; i < m.n_blocks; i++) {
        const long rows = stretch_of(m.blocks[i], w);
        const Block& b = m.blocks[i];
        long need = padded_floats(b, w, rows) + rows * w * (long)b.depthwise.channels + 128 + own_scratch(b);
        most = need > most ? need : most;
        Block part = b;  // of a group of channels: fewer of them, and more rows, or as many
        part.depthwise.channels = group_of(b, 1);
        need = STRETCH_FLOATS + padded_floats(part, w, stretch_of(part, w)) + taps_floats(b, part.depthwise.channels) + 128;
        most = need > most ? need : most;
        if (b.depthwise.stride == 2) w = half_up(w);
    }
    const long last = m.has_last ? scratch_floats(m.last.in) + 16 : 0;
    return last > most ? last : most;
}

inline MergeScratch merge_scratch(const Merging& m, long n, Arena& arena) {
    const long w = m.width ? m.width : 8;
    arena.used = 0;
    MergeScratch s;
    s.ranked = (double*)arena.take(4 * n), s.score = (double*)arena.take(2 * n), s.cum = (double*)arena.take(2 * n);
    s.h = arena.take(n * w), s.mixed = arena.take(n * w), s.raw = arena.take(n), s.sums = arena.take(3 * m.bands);
    return s;
}

}  // namespace
