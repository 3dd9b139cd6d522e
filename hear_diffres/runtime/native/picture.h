// Samples to log-mel to bins to the first layer's output.
#pragma once
#include "call.h"

namespace {

// Whether all samples are finite; else what it makes is worth nothing.
inline bool run_log_mel(Call& call, const float* audio, long n, bool at_start) {
    const Model& m = call.m;
    Arena& arena = call.space.shared;
    const long frames = call.frames;
    float* room = arena.take(n + 2);
    Sound sound = sound_of(m.front, audio, n, at_start, room);
    call.logmel = call.logs = arena.take(frames * m.front.n_mels);
    const bool merge = m.merging.bands != m.front.n_mels;
    const bool all_stay = m.merging.keep == 1.0 && m.merging.stay == 1.0 && !merge;  // nobody asks for their power
    call.power = call.merged = all_stay ? 0 : arena.take(frames * m.front.n_mels);
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

}  // namespace
