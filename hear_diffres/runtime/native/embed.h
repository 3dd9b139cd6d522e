// The blocks of the backbone, and what is tapped of them.
#pragma once
#include "picture.h"

namespace {

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

// What `open_gated` makes, in groups of so many channels, each through all of time.
inline void open_groups(Call& call, const Block& b, const Map& in, const Map& opened, int group, const float* weight,
                        float share, float* mean) {
    const int c = opened.channels;
    memset(mean, 0, c * sizeof(float));
    call.parallel((c + group - 1) / group, [&](long index, int thread) {
        const int first = (int)index * group, last = first + group < c ? first + group : c;
        Arena& own = call.space.own[thread];
        own.used = 0;
        const Block part = part_of(b, first, last, own.take(taps_floats(b, last - first)));
        const long rows = stretch_of(part, in.width);
        open_span(
            part, in, 0, opened.steps, rows, own.take(padded_floats(part, in.width, rows)), 0,
            [&](long u0, long u1) { return Map{opened.row(u0) + first, u1 - u0, opened.width, c}; },
            [&](const Map& map, long u0, long u1) {
                for (long t = u0; t < u1; t++)
                    add_step(map, t - u0, weight[t] * share, mean + first, last - first);
            });
    });
}

// A block with squeeze-and-excitation needs the mean over the whole clip between convolution and projection: first what
// is to be projected, and that mean, weighted, in `mean`.
inline Map open_gated(Call& call, const Block& b, const Map& in, const Map& out, const float* weight, float* mean) {
    const int c = b.depthwise.channels;
    const int group = group_of(b, call.threads);
    Arena& arena = call.space.shared;
    const Map opened = {arena.take(out.steps * out.width * c), out.steps, out.width, c};
    float total = 0;
    for (long t = 0; t < out.steps; t++) total += weight[t];
    const float share = 1.0f / ((total > 1e-6f ? total : 1e-6f) * out.width);
    if (group < c) {
        open_groups(call, b, in, opened, group, weight, share, mean);
        return opened;
    }
    const long rows = stretch_of(b, in.width);
    const Spans spans = spans_of(call, out.steps, rows);
    float* sums = arena.take(spans.count * c);
    memset(sums, 0, spans.count * c * sizeof(float));
    call.parallel(spans.count, [&](long span, int thread) {
        const long t0 = spans.first(span), t1 = spans.last(span);
        Arena& own = call.space.own[thread];
        own.used = 0;
        float *padded = own.take(padded_floats(b, in.width, rows)), *scratch = own.take(own_scratch(b));
        open_span(
            b, in, t0, t1, rows, padded, scratch,
            [&](long u0, long u1) { return Map{opened.row(u0), u1 - u0, out.width, c}; },
            [&](const Map& part, long u0, long u1) {
                for (long t = u0; t < u1; t++) add_step(part, t - u0, weight[t] * share, sums + span * c, c);
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
