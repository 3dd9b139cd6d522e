// A model opened from a file, its chunks and timestamps: what file.cpp makes, sound.cpp uses.
#pragma once
#include <math.h>
#include <stdint.h>

#include <map>
#include <string>

#include "api.h"
#include "hear_diffres.h"

// Frames [first, last) of a sound and the samples [start, stop) they need.
struct hd_chunk {
    int64_t first, last, start, stop;
};

struct hd_model {
    void* engine = nullptr;
    std::map<std::string, std::string> strings;
    int64_t sample_rate = 0, hop_length = 0, n_fft = 0, context_frames = 0, chunk_frames = 0;
    long size = 0;

    ~hd_model() {
        if (engine) hd_close(engine);
    }
    int64_t frames(int64_t samples) const { return samples < 1 ? 0 : 1 + (samples - 1) / hop_length; }
    // The first sample that a chunk needs.
    int64_t start(int64_t first) const {
        const int64_t sample = (first - context_frames) * hop_length - n_fft / 2;
        return sample < 0 ? 0 : sample;
    }
    // The end of those that it needs, where the sound has them.
    int64_t stop(int64_t last) const { return (last - 1) * hop_length + n_fft / 2 + 1; }
    // The chunk that begins with frame `first`, of a sound of so many samples.
    hd_chunk chunk(int64_t first, int64_t samples) const {
        const int64_t total = frames(samples), last = first + chunk_frames < total ? first + chunk_frames : total;
        return {first, last, start(first), stop(last) < samples ? stop(last) : samples};
    }
    double frame_ms() const { return 1000.0 * (double)hop_length / (double)sample_rate; }
};

// Timestamps per sample as a fraction, so that none is lost or doubled by rounding; `of` is 0 where hop_ms is out of
// range.
struct hd_rate {
    int64_t top = 0, of = 0;

    hd_rate(double hop_ms, int64_t sample_rate) {
        if (!(hop_ms >= 1 && hop_ms <= 10000)) return;
        // Continued fraction: milliseconds as p / q, 333.333... as 1000 / 3.
        int64_t p = 1, q = 0, p_before = 0, q_before = 1;
        for (double x = hop_ms;; x = 1 / (x - floor(x))) {
            const int64_t whole = (int64_t)floor(x), next = whole * q + q_before;
            if (next > 1000000) break;
            q_before = q, q = next;
            const int64_t p_next = whole * p + p_before;
            p_before = p, p = p_next;
            if (fabs(hop_ms - (double)p / (double)q) < 1e-12 * hop_ms) break;
        }
        const int64_t shared = common(1000 * q, sample_rate * p);
        top = 1000 * q / shared, of = sample_rate * p / shared;
    }
    static int64_t common(int64_t a, int64_t b) { return b ? common(b, a % b) : a; }
    int64_t up_to(int64_t samples) const { return samples * top / of; }
    int64_t from(int64_t samples) const { return (samples * top + of - 1) / of; }
};
