// DiffRes's budget "active": the blocks with most sound stay as they are; hear_diffres/compression/active.py says why.
#pragma once
#include "merging.h"

namespace {

const float ACTIVE_RANGE = 11.5f;  // nepers of power, 50 dB
const float SILENCE = 0.25f;       // importance of a silent frame beside that of others

struct Candidate {
    float activity;  // thousandths
    long block, frames;
};

static int more_active(const void* a, const void* b) {
    const Candidate &x = *(const Candidate*)a, &y = *(const Candidate*)b;
    if (x.activity != y.activity) return x.activity < y.activity ? 1 : -1;
    return x.block < y.block ? -1 : 1;
}

// Floats to work in: candidates, how many frames of each block are taken, and a level per frame.
inline long active_floats(const Merging& m, long frames) {
    return blocks_of(m, frames) * (long)((sizeof(Candidate) + sizeof(long)) / sizeof(float)) + frames + 32;
}

// Natural logarithm of the power of each frame in all bands, `[frames]`, written in whole vectors.
inline void frame_levels(const Merging& m, const float* logs, const float* power, long frames, float* out) {
    for (long t = 0; t < frames; t++) {
        v8 total = {};
        for (int b = 0; b < m.bands; b += LANES) total += load(power + t * m.bands + b);
        out[t] = sum(total);
    }
    for (long t = frames; t % LANES; t++) out[t] = 1;
    for (long t = 0; t < frames; t += LANES) {
        const v8 total = load(out + t);
        store(out + t, log_of(total));
        for (long i = t; i < t + LANES && i < frames; i++) {
            if (total[i - t] < 1e30f) continue;
            const float* row = logs + i * m.bands;  // power stops where its logarithm goes on
            float top = row[0], rest = 0;
            for (int b = 1; b < m.bands; b++) top = row[b] > top ? row[b] : top;
            for (int b = 0; b < m.bands; b++) rest += expf(row[b] - top);
            out[i] = top + logf(rest);
        }
    }
}

// Which of the frames of `[frames][bands]` stay: their numbers, `share_of(m.stay, frames)` of them, in `index`, and what
// each weighs beside the others where they are merged. `scratch` holds `active_floats`.
inline void active_frames(const Merging& m, const float* logs, const float* power, long frames, float* scratch,
                          long* index, float* weight) {
    const long blocks = blocks_of(m, frames), size = m.block_frames;
    Candidate* all = (Candidate*)scratch;
    long* taken = (long*)(all + blocks);
    float *levels = (float*)(taken + blocks), top = -INFINITY;
    frame_levels(m, logs, power, frames, levels);
    for (long t = 0; t < frames; t++) top = levels[t] > top ? levels[t] : top;
    for (long t = 0; t < frames; t++) levels[t] = fmaxf(levels[t] - top + ACTIVE_RANGE, 0);  // activity from here on
    for (long block = 0; block < blocks; block++) {
        const long first = block * size, n = first + size < frames ? size : frames - first;
        float total = 0;
        for (long t = first; t < first + n; t++) total += levels[t];
        all[block] = {rintf(total / (float)n * 1000.0f), block, n};
    }
    qsort(all, blocks, sizeof(Candidate), more_active);
    long left = share_of(m.stay, frames);
    for (long i = 0; i < blocks; i++) left -= taken[all[i].block] = all[i].frames < left ? all[i].frames : left;
    for (long block = 0; block < blocks; block++)
        for (long t = block * size; t < block * size + taken[block]; t++) {
            *index++ = t;
            *weight++ = fminf(SILENCE + (1 - SILENCE) * levels[t], 1);
        }
}

// Milliseconds among the frames that stayed, to those of the sound.
inline double time_in_sound(const Merging& m, const long* index, long kept, double among_kept) {
    const float frame_ms = (float)m.frame_ms, last = (float)(kept - 1), at = (float)among_kept / frame_ms;
    const float place = at < last ? at : last;
    const long left = (long)place, right = left + 1 < kept ? left + 1 : kept - 1;
    const float here = (float)index[left], after = (float)index[right];
    return (here + (place - (float)left) * (after - here)) * frame_ms;
}

}  // namespace
