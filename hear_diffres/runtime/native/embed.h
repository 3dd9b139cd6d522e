// One chunk of one sound: samples to a scene embedding, or to embeddings around given times.
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

// Whether all samples are finite; else what it makes is worth nothing.
inline bool run_log_mel(Call& call, const float* audio, long n, bool at_start) {
    const Model& m = call.m;
    Arena& arena = call.space.shared;
    const long frames = call.frames;
    float* room = arena.take(n + 2);
    Sound sound = sound_of(m.front, audio, n, at_start, room);
    call.logmel = call.logs = arena.take(frames * m.front.n_mels);
    call.power = call.merged = arena.take(frames * m.front.n_mels);
    const bool merge = m.merging.bands != m.front.n_mels;
    if (merge) call.logs = arena.take(frames * m.merging.bands), call.merged = arena.take(frames * m.merging.bands);
    const long pieces = (frames + FRAMES - 1) / FRAMES;
    float *means = arena.take(pieces * m.front.n_mels), *counts = arena.take(pieces);
    int32_t* peaks = (int32_t*)arena.take(pieces);
    call.mels.data = means, call.mels.steps = pieces, call.mels.channels = m.front.n_mels, call.mels.weight = counts;
    auto make = [&](long task, int thread) {
        Arena& own = call.space.own[thread];
        own.used = 0;
        long first = task * FRAMES, last = first + FRAMES < frames ? first + FRAMES : frames;
        float* scratch = own.take(log_mel_floats(m.front));
        peaks[task] = log_mel(m.front, sound, first, last, scratch, call.logmel, call.power);
        if (call.scene && m.wants(MELS)) {  // now that it is in the cache
            Sequence piece;
            piece.data = call.logmel + first * m.front.n_mels, piece.steps = last - first;
            piece.channels = m.front.n_mels;
            time_mean(piece, means + task * m.front.n_mels);
            counts[task] = (float)(last - first);
        }
        if (merge)
            merge_bands(m.merging, m.front.n_mels, last - first, call.power + first * m.front.n_mels,
                        call.logs + first * m.merging.bands, call.merged + first * m.merging.bands);
    };
    call.parallel(pieces, make);
    int32_t bits = 0;
    for (long i = 0; i < pieces; i++) bits = peaks[i] > bits ? peaks[i] : bits;
    float peak;
    memcpy(&peak, &bits, 4);
    if (peak > SAFE_PEAK && peak < INFINITY) scale_down(sound, peak, room), call.parallel(pieces, make);  // anew
    return bits < 0x7f800000;
}

// What is dropped of the sound, before anything else is done to it.
inline void drop_frames(Call& call) {
    const Merging& merging = call.m.merging;
    if (merging.stay == 1.0) return;
    Arena& arena = call.space.shared;
    call.index = (long*)arena.take(2 * call.kept), call.weight = arena.take(call.kept);
    active_frames(merging, call.logs, call.merged, call.frames, arena.take(active_floats(merging, call.frames)),
                  call.index, call.weight);
    float *logs = arena.take(call.kept * merging.bands), *power = arena.take(call.kept * merging.bands);
    for (long t = 0; t < call.kept; t++) {
        const long from = call.index[t] * merging.bands, bytes = merging.bands * sizeof(float);
        memcpy(logs + t * merging.bands, call.logs + from, bytes);
        memcpy(power + t * merging.bands, call.merged + from, bytes);
    }
    call.logs = logs, call.merged = power;
}

// Rows of the picture for steps of the first layer that blocks meet in: three for each block's last, of which every
// block puts down its own. Where a block has a single bin, its neighbours meet in one step.
struct Seams {
    float* rows;
    long pitch;

    float* of(long block, long row) const { return rows + (3 * block + row) * pitch; }
};

// DiffRes and the first layer in turns, so that the few rows of the picture between them stay in the nearest cache.
inline Map run_stem_on_bins(Call& call) {
    const Model& m = call.m;
    const Merging& merging = m.merging;
    Arena& arena = call.space.shared;
    Bins& bins = call.bins;
    const long pitch = picture_pitch(merging), size = span_of(merging, call.kept);
    const long blocks = spans_of(merging, call.kept);
    const long full = bins_of(merging, size);
    bins.count = total_bins(merging, call.kept);
    bins.weight = arena.take(bins.count), bins.times_ms = (double*)arena.take(2 * bins.count);
    const Seams seams = {arena.take(3 * blocks * pitch), pitch};
    memset(seams.rows, 0, 3 * blocks * pitch * sizeof(float));
    const long steps = half_up(bins.count);
    const Map out = {arena.take(steps * half_up(merging.bands) * m.stem.channels), steps, (int)half_up(merging.bands),
                     m.stem.channels};
    // Step t takes bins 2 t - 1 to 2 t + 1. The one in which a block meets the next, and the first block of those that
    // do.
    auto seam = [&](long block) { return (block + 1) * full / 2; };
    auto owner = [&](long block) {
        while (block > 0 && seam(block - 1) == seam(block)) block--;
        return block;
    };
    call.parallel(blocks, [&](long block, int thread) {
        const double begun = call.merging ? seconds() : 0;
        Arena& own = call.space.own[thread];
        MergeScratch s = merge_scratch(merging, size, own);
        const long start = block * size, n = start + size < call.kept ? size : call.kept - start;
        const long first = block * full, end = first + bins_of(merging, n);
        float* rows = own.take((RING + 1) * pitch);  // the last one for what is beyond the ends of the sound
        memset(rows, 0, (RING + 1) * pitch * sizeof(float));
        auto row = [&](long bin) { return rows + (bin < first || bin >= end ? RING : bin % RING) * pitch; };
        auto put_down = [&](long other, long bin) {
            if (const long i = bin - (2 * seam(other) - 1); i >= 0 && i < 3)
                memcpy(seams.of(owner(other), i), row(bin), pitch * sizeof(float));
        };
        const long t1 = block + 1 < blocks ? seam(block) : steps;
        long t = block > 0 ? seam(block - 1) + 1 : 0;
        double in_stem = 0;
        auto run_steps = [&](long last) {  // those that take bins up to `last`
            const double from = call.merging ? seconds() : 0;
            for (; t < t1 && 2 * t + 1 <= last; t++) {
                const float* near[3] = {row(2 * t - 1), row(2 * t), row(2 * t + 1)};
                run_stem(m.stem, near, out.width, out.row(t));
            }
            if (call.merging) in_stem += seconds() - from;
        };
        merge_span(merging, m.front, call.logs, call.merged, call.weight, start, n, first, s, bins, row, [&](long bin) {
            if (block > 0) put_down(block - 1, bin);
            if (block + 1 < blocks) put_down(block, bin);
            if (bin + 1 - (2 * t - 1) >= RING) run_steps(bin);
        });
        run_steps(end);
        if (call.merging) call.merging[thread] += seconds() - begun - in_stem;
    });
    for (long block = 0; block + 1 < blocks; block++)
        if (owner(block) == block) {
            const float* near[3] = {seams.of(block, 0), seams.of(block, 1), seams.of(block, 2)};
            run_stem(m.stem, near, out.width, out.row(seam(block)));
        }
    if (call.index)
        for (long bin = 0; bin < bins.count; bin++)
            bins.times_ms[bin] = time_in_sound(merging, call.index, call.kept, bins.times_ms[bin]);
    return out;
}

// What a scene needs of a tap, while the tap is in the cache.
inline void keep_mean(Call& call, Sequence& tap) {
    if (!call.scene) return;
    float* mean = call.space.shared.take(tap.channels);
    time_mean(tap, mean);
    tap.mean = mean;
}

inline Sequence over_time(Call& call, const Map& map, int stride, const float* weight) {
    float* mean = call.space.shared.take(map.steps * map.channels);
    frequency_mean(map, mean);
    Sequence tap;
    tap.data = mean, tap.steps = map.steps, tap.channels = map.channels, tap.stride = stride, tap.weight = weight;
    return tap;
}

// A block's output as it was asked for: its means over frequency, its deviations, or both.
inline void keep_block(Call& call, int stage, const Map& map, int stride, const float* weight) {
    const Model& m = call.m;
    const Sequence mean = over_time(call, map, stride, weight);
    if (m.wants(BLOCK + stage)) call.taps[stage] = mean, keep_mean(call, call.taps[stage]);
    if (!m.wants(STD + stage)) return;
    float* out = call.space.shared.take(map.steps * map.channels);
    frequency_std(map, mean.data, out);
    call.deviations[stage] = mean, call.deviations[stage].data = out;
    keep_mean(call, call.deviations[stage]);
}

inline void keep_squeezed(Call& call, const Block& b, Sequence& tap, const Map& opened, int stride,
                          const float* weight) {
    const Sequence mean = over_time(call, opened, stride, weight);
    float* out = call.space.shared.take(opened.steps * b.squeeze.out);
    Rows from = {(float*)mean.data, b.squeeze.in, 1, b.squeeze.in}, to = {out, b.squeeze.out, 1, b.squeeze.out};
    gemm(from, opened.steps, b.squeeze.in, b.squeeze.packed, to, b.squeeze.out, NONE, {b.squeeze.bias, 0});
    tap = mean, tap.data = out, tap.channels = b.squeeze.out;
    keep_mean(call, tap);
}

// Steps of time shared out: one span for a single thread, several for more.
struct Spans {
    long steps, each, count;

    long first(long span) const { return span * each; }
    long last(long span) const { return first(span) + each < steps ? first(span) + each : steps; }
};

inline Spans spans_of(const Call& call, long steps, long rows) {
    long parts = call.pool ? 3L * call.threads : 1, each = (steps + parts - 1) / parts;
    const long least = rows < 8 ? rows : 8;  // each span begins with rows that its neighbour has made too
    if (call.pool && each < least) each = least;
    return {steps, each, (steps + each - 1) / each};
}

// A block with squeeze-and-excitation needs the mean over the whole clip between convolution and projection: first what
// is to be projected, and that mean, weighted, in `mean`.
inline Map open_gated(Call& call, const Block& b, const Map& in, const Map& out, const float* weight, float* mean) {
    const int c = b.depthwise.channels;
    const long rows = stretch_of(b, in.width);
    const Spans spans = spans_of(call, out.steps, rows);
    Arena& arena = call.space.shared;
    const Map opened = {arena.take(out.steps * out.width * c), out.steps, out.width, c};
    float* sums = arena.take(spans.count * c);
    memset(sums, 0, spans.count * c * sizeof(float));
    float total = 0;
    for (long t = 0; t < out.steps; t++) total += weight[t];
    const float share = 1.0f / ((total > 1e-6f ? total : 1e-6f) * out.width);
    call.parallel(spans.count, [&](long span, int thread) {
        const long t0 = spans.first(span), t1 = spans.last(span);
        Arena& own = call.space.own[thread];
        own.used = 0;
        float *padded = own.take(padded_floats(b, in.width, rows)), *scratch = own.take(own_scratch(b));
        open_span(
            b, in, t0, t1, rows, padded, scratch,
            [&](long u0, long u1) { return Map{opened.row(u0), u1 - u0, out.width, c}; },
            [&](const Map& part, long u0, long u1) {
                for (long t = u0; t < u1; t++) add_step(part, t - u0, weight[t] * share, sums + span * c);
            });
    });
    memcpy(mean, sums, c * sizeof(float));
    for (long span = 1; span < spans.count; span++)
        for (int i = 0; i < c; i += LANES) store(mean + i, load(mean + i) + load(sums + span * c + i));
    return opened;
}

// Then the projection, behind the gate. `opened` is used up.
inline void close_gated(Call& call, const Block& b, const Map& in, const Map& opened, const float* mean, const Map& out) {
    Arena& arena = call.space.shared;
    const Pointwise& p = b.project;
    float *gate = arena.take(p.in), *hidden = arena.take(b.squeeze.out);
    fill_gate(b, mean, hidden, gate);
    // bfloat16 pixels are gated as they are rounded; else the pixels or the weights are, of which there are fewer.
    const bool weights = !ROUGH && opened.pixels() >= p.out, pixels = !ROUGH && !weights;
    float* gated = weights ? arena.take(packed_floats(p.in, p.out)) : 0;
    if (weights) pack(p.weight, p.in, p.out, gated, gate);
    const Spans spans = spans_of(call, out.steps, stretch_of(b, in.width));
    call.parallel(spans.count, [&](long span, int thread) {
        const long t0 = spans.first(span), t1 = spans.last(span);
        const Map part = {opened.row(t0), t1 - t0, opened.width, opened.channels};
        Arena& own = call.space.own[thread];
        own.used = 0;
        if (pixels) scale_pixels(part, gate);
        project(b, weights ? gated : p.packed, gate, part, b.residual ? &in : 0, t0, t1, out, own.take(own_scratch(b)));
    });
}

inline void run_plain(Call& call, const Block& b, const Map& in, const Map& out) {
    const int c = b.depthwise.channels;
    const long rows = stretch_of(b, in.width);
    const Spans spans = spans_of(call, out.steps, rows);
    call.parallel(spans.count, [&](long span, int thread) {
        const long t0 = spans.first(span), t1 = spans.last(span);
        Arena& own = call.space.own[thread];
        own.used = 0;
        float *padded = own.take(padded_floats(b, in.width, rows)), *between = own.take(rows * out.width * (long)c);
        float* scratch = own.take(own_scratch(b));
        open_span(
            b, in, t0, t1, rows, padded, scratch,
            [&](long u0, long u1) { return Map{between, u1 - u0, out.width, c}; },
            [&](const Map& part, long u0, long u1) {
                project(b, b.project.packed, 0, part, b.residual ? &in : 0, u0, u1, out, scratch);
            });
    });
}

inline const float* copy_weight(Call& call, const float* weight, long n) {
    float* out = call.space.shared.take(n);
    memcpy(out, weight, n * sizeof(float));
    return out;
}

inline void run_backbone(Call& call) {
    const Model& m = call.m;
    Arena& arena = call.space.shared;
    Map x = run_stem_on_bins(call);
    long steps = x.steps;
    int width = x.width, stride = 2;
    float* weight = (float*)copy_weight(call, call.bins.weight, call.bins.count);
    halve_weights(weight, call.bins.count);
    if (m.wants(BLOCK) || m.wants(STD)) keep_block(call, 0, x, stride, copy_weight(call, weight, steps));
    for (int i = 1; i <= m.last_needed; i++) {
        const Block& b = m.blocks[i - 1];
        if (b.depthwise.stride == 2) {
            halve_weights(weight, steps);
            steps = half_up(steps), width = half_up(width), stride *= 2;
        }
        const Map out = {arena.take(steps * width * b.project.out), steps, width, b.project.out};
        const bool block = m.wants(BLOCK + i) || m.wants(STD + i), se = m.wants(SE + i);
        const float* kept = block || se ? copy_weight(call, weight, steps) : 0;
        if (b.has_se) {
            float* mean = arena.take(b.depthwise.channels);
            const Map opened = open_gated(call, b, x, out, weight, mean);
            if (se) keep_squeezed(call, b, call.squeezed[i], opened, stride, kept);
            close_gated(call, b, x, opened, mean, out);
        } else {
            run_plain(call, b, x, out);
        }
        if (block) keep_block(call, i, out, stride, kept);
        x = out;
    }
    if (m.last_needed == m.n_blocks && (m.wants(LAST) || m.wants(HIDDEN) || m.wants(LOGITS))) {
        Map out = {arena.take(steps * width * (long)m.last.out), steps, width, m.last.out};
        call.parallel((steps + 7) / 8, [&](long task, int thread) {
            long t0 = task * 8, t1 = t0 + 8 < steps ? t0 + 8 : steps;
            Arena& own = call.space.own[thread];
            own.used = 0;
            multiply(x.rows(t0), t1 - t0, m.last.in, m.last.packed, out.rows(t0), m.last.out, HARDSWISH,
                     {m.last.bias, 0}, 0, own.take(scratch_floats(m.last.in)));
        });
        call.last = over_time(call, out, stride, copy_weight(call, weight, steps));
        keep_mean(call, call.last);
    }
}

}  // namespace
