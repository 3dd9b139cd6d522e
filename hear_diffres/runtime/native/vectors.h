// Taps to vectors: means over time, or over a window around each of given times (hear_diffres/timing.py).
#pragma once
#include "embed.h"

namespace {

// Mean of the linear interpolant of knots at times `at(k)`, constant beyond them, over `width` around `centre`.
template <typename At>
inline void mean_around(const Sequence& s, At at, double centre, double width, double* sums, float* out) {
    const long n = s.steps;
    const int channels = s.channels;
    const double a = centre - width / 2, b = centre + width / 2;
    memset(sums, 0, channels * sizeof(double));
    auto add = [&](long k, double share) {
        if (share != 0)
            for (int c = 0; c < channels; c++) sums[c] += share * s.data[k * channels + c];
    };
    add(0, fmax(0, fmin(b, at(0)) - a));
    add(n - 1, fmax(0, b - fmax(a, at(n - 1))));
    long low = 0, high = n - 1;  // the last knot not after `a`
    while (low < high) {
        long middle = (low + high + 1) / 2;
        if (at(middle) <= a) low = middle;
        else high = middle - 1;
    }
    for (long k = low; k + 1 < n && at(k) < b; k++) {
        double t0 = at(k), t1 = at(k + 1), u = fmax(a, t0), v = fmin(b, t1);
        if (v <= u || t1 <= t0) continue;
        double share = ((u + v) / 2 - t0) / (t1 - t0);
        add(k, (v - u) * (1 - share)), add(k + 1, (v - u) * share);
    }
    for (int c = 0; c < channels; c++) out[c] = (float)(sums[c] / width);
}

inline const Sequence& tap_of(const Call& call, int part) {
    if (part >= STD) return call.deviations[part - STD];
    if (part >= LAST) return call.last;
    return part > SE ? call.squeezed[part - SE] : call.taps[part - BLOCK];
}

// The parts of one vector, one behind the other; `pool_tap` makes `[channels]` of a sequence.
template <typename PoolTap>
inline void write_vector(const Call& call, float* scratch, float* out, PoolTap pool_tap) {
    const Model& m = call.m;
    for (int i = 0; i < m.n_parts; i++) {
        const int part = m.parts[i], width = m.width_of(part);
        if (part == MELS) {
            Sequence mels;
            mels.data = call.logmel, mels.steps = call.frames, mels.channels = m.front.n_mels, mels.stride = 0;
            pool_tap(mels, out);
            for (int b = 0; b < width; b++) out[b] = (out[b] + m.front.shift) / m.front.scale;
        } else if (part == HIDDEN || part == LOGITS) {
            float *last = scratch, *hidden = last + m.last.out, *logits = hidden + m.hidden.out;
            pool_tap(call.last, last);
            vector_layer(m.hidden, last, hidden, HARDSWISH);
            if (part == LOGITS) vector_layer(m.logits, hidden, logits, NONE);
            memcpy(out, part == LOGITS ? logits : hidden, width * sizeof(float));
        } else {
            pool_tap(tap_of(call, part), out);
        }
        out += width;
    }
}

inline long widest(const Model& m) {
    long most = m.front.n_mels;
    for (int i = 0; i < m.n_parts; i++) most = m.width_of(m.parts[i]) > most ? m.width_of(m.parts[i]) : most;
    return (m.last.out > most ? m.last.out : most) + 64;
}

// `[n_grid][size]`, each vector from what lies around its time.
inline void write_times(Call& call, int threads, const float* grid, long n_grid, double hop_ms, float* out) {
    const Model& m = call.m;
    const long vector = m.last.out + m.hidden.out + m.logits.out + 64;
    float* scratch = call.space.shared.take((vector + 2 * widest(m)) * threads + 64 * threads);
    const long each = (vector + 2 * widest(m) + 63) / 16 * 16, piece = 8;
    call.parallel((n_grid + piece - 1) / piece, [&](long task, int thread) {
        double* sums = (double*)(scratch + thread * each);
        for (long g = task * piece; g < n_grid && g < (task + 1) * piece; g++)
            write_vector(call, (float*)(sums + widest(m)), out + g * m.size, [&](const Sequence& s, float* to) {
                if (s.stride == 0)
                    mean_around(s, [&](long k) { return (double)(float)(k * m.merging.frame_ms); }, grid[g], hop_ms,
                                sums, to);
                else
                    mean_around(s, [&](long k) { return call.bins.times_ms[k * s.stride]; }, grid[g], hop_ms, sums,
                                to);
            });
    });
}

// Unless null: `scene` [size], and `times` [n_grid][size] around the milliseconds of `grid` from the first frame. `stages`,
// unless null: the seconds of front end, DiffRes, backbone and vectors. Returns HD_DONE or what failed (table.h).
inline int embed(const Model& m, Workspace& space, hd_pool* pool, int threads, const float* audio, long n,
                  bool at_start, long frames, const float* grid, long n_grid, double hop_ms, float* scene,
                  float* times, double* stages) {
    const long vector = m.last.out + m.hidden.out + m.logits.out + 64, kept = share_of(m.merging.stay, frames);
    space.shared.reserve(shared_floats(m, n, frames) + (vector + 2 * widest(m) + 64) * threads + vector + 64);
    for (int i = 0; i < threads; i++) {
        space.own[i].reserve(own_floats(m, kept));
        if (!space.own[i].data) return HD_FULL;
    }
    if (!space.shared.data) return HD_FULL;
    double merging[HD_MAX_THREADS] = {};
    Call call = {m, space, pool, threads, scene != 0, frames, kept, 0, 0, 0, 0, 0, 0, {}, stages ? merging : 0, {}, {}, {}, {}};
    double marks[4] = {seconds()}, dropping = 0;
    auto mark = [&](int stage) { marks[stage] = stages ? seconds() : 0; };
    if (!run_log_mel(call, audio, n, at_start)) return HD_NOT_FINITE;
    mark(1);
    if (m.last_needed >= 0) {
        drop_frames(call);
        dropping = stages ? seconds() - marks[1] : 0;
        run_backbone(call);
    }
    mark(2);
    if (scene)
        write_vector(call, space.shared.take(vector), scene,
                     [&](const Sequence& s, float* to) {
                         if (s.mean) memcpy(to, s.mean, s.channels * sizeof(float));
                         else time_mean(s.stride == 0 ? call.mels : s, to);
                     });
    if (times) write_times(call, threads, grid, n_grid, hop_ms, times);
    mark(3);
    if (stages) {
        const long blocks = spans_of(m.merging, kept);
        double diffres = dropping;  // and in the midst of the backbone, each thread some of the blocks
        for (int i = 0; i < threads; i++) diffres += merging[i] / (blocks < threads ? blocks : threads);
        stages[0] = marks[1] - marks[0], stages[1] = diffres;
        stages[2] = marks[2] - marks[1] - diffres, stages[3] = marks[3] - marks[2];
    }
    return HD_DONE;
}

}  // namespace
