// hear_diffres.h: sounds cut into chunks, whole ones as runtime/model.py and chunks.py do it, streams as streaming.py.
#include <string.h>

#include <new>
#include <vector>

#include "opened.h"

namespace {

// Timestamps [from, to) of a sound, in milliseconds from a chunk's first frame.
void make_grid(std::vector<float>& grid, const hd_model& model, int64_t first, int64_t from, int64_t to,
               double hop_ms) {
    grid.clear();
    for (int64_t i = from; i < to; i++) grid.push_back((float)((double)i * hop_ms - (double)first * model.frame_ms()));
}

// The end of a chunk's timestamps, of a sound of so many samples: one on the border to the next chunk is that one's.
int64_t end_of(const hd_model& model, const hd_rate& rate, const hd_chunk& chunk, int64_t samples) {
    return chunk.last == model.frames(samples) ? rate.up_to(samples) + 1 : rate.from(chunk.last * model.hop_length);
}

int embed(const hd_model& model, const hd_chunk& chunk, const float* samples, const std::vector<float>& grid,
          double hop_ms, float* scene, float* rows) {
    const bool times = rows && !grid.empty();
    if (!scene && !times) return HD_OK;
    const int failed = hd_embed(model.engine, samples, (long)(chunk.stop - chunk.start), chunk.first == 0,
                                (long)(chunk.last - chunk.first), times ? grid.data() : nullptr,
                                times ? (long)grid.size() : 0, hop_ms, scene, times ? rows : nullptr, nullptr);
    return failed == HD_NOT_FINITE ? HD_BAD_ARGUMENT : failed ? HD_NO_MEMORY : HD_OK;
}

}  // namespace

struct hd_stream {
    hd_model* model;
    double hop_ms;
    hd_rate rate;
    hd_sink sink;
    void* own;
    std::vector<float> held, grid, rows, scene;  // `held` from sample `origin` on
    std::vector<double> sum;                      // of scenes, times frames
    int64_t origin = 0, heard = 0, first = 0;
    bool over = false;

    hd_stream(hd_model* m, double hop, hd_sink s, void* o)
        : model(m), hop_ms(hop), rate(hop, m->sample_rate), sink(s), own(o), scene((size_t)m->size) {
        sum.resize(scene.size());
    }

    // Samples with which the coming chunk is complete, and known not to be the last.
    int64_t ready_at() const {
        const int64_t last = first + model->chunk_frames, more = last * model->hop_length + 1;
        return model->stop(last) > more ? model->stop(last) : more;
    }
    // Embeds the coming chunk of what was heard and gives its timestamps away.
    int take() {
        const hd_chunk chunk = model->chunk(first, heard);
        const int64_t from = rate.from(chunk.first * model->hop_length);
        make_grid(grid, *model, chunk.first, from, end_of(*model, rate, chunk, heard), hop_ms);
        rows.resize(grid.size() * (size_t)model->size);
        const float* samples = &held[(size_t)(chunk.start - origin)];
        int failed = embed(*model, chunk, samples, grid, hop_ms, scene.data(), rows.data());
        if (failed) return failed;
        for (size_t i = 0; i < scene.size(); i++) sum[i] += (double)scene[i] * (double)(chunk.last - chunk.first);
        for (size_t i = 0; i < grid.size(); i++)
            sink(own, (double)(from + (int64_t)i) * hop_ms, &rows[i * (size_t)model->size]);
        first = chunk.last;
        return HD_OK;
    }
    int push(const float* samples, int64_t n) {
        while (n > 0) {
            const int64_t wanted = ready_at() - heard, part = n < wanted ? n : wanted;
            held.insert(held.end(), samples, samples + part);
            samples += part, n -= part, heard += part;
            if (part < wanted) break;
            int failed = take();
            if (failed) return failed;
            const int64_t kept = model->start(first);
            held.erase(held.begin(), held.begin() + (kept - origin));
            origin = kept;
        }
        return HD_OK;
    }
    int finish(float* out) {
        const int64_t total = model->frames(heard);
        while (first < total) {
            int failed = take();
            if (failed) return failed;
        }
        over = true;
        if (out && !heard) return HD_BAD_ARGUMENT;
        for (size_t i = 0; out && i < sum.size(); i++) out[i] = (float)(sum[i] / (double)total);
        return HD_OK;
    }
};

extern "C" {
#pragma GCC visibility push(default)

int hd_scene_embedding(hd_model* model, const float* audio, long n_samples, float* out) {
    if (n_samples < 1) return HD_BAD_ARGUMENT;
    try {
        const size_t size = (size_t)model->size;
        const int64_t total = model->frames(n_samples);
        std::vector<float> part(size), sum(size);
        for (int64_t first = 0; first < total; first += model->chunk_frames) {
            const hd_chunk chunk = model->chunk(first, n_samples);
            const int failed = embed(*model, chunk, audio + chunk.start, {}, 50, part.data(), nullptr);
            if (failed) return failed;
            for (size_t i = 0; i < size; i++) sum[i] += part[i] * (float)(chunk.last - first);
        }
        for (size_t i = 0; i < size; i++) out[i] = sum[i] / (float)total;
        return HD_OK;
    } catch (const std::bad_alloc&) {
        return HD_NO_MEMORY;
    }
}

long hd_timestamps(const hd_model* model, long n_samples, double hop_ms) {
    const hd_rate rate(hop_ms, model->sample_rate);
    return rate.of && n_samples > 0 ? (long)rate.up_to(n_samples) + 1 : 0;
}

int hd_timestamp_embeddings(hd_model* model, const float* audio, long n_samples, double hop_ms, float* out,
                            float* milliseconds) {
    const int64_t count = hd_timestamps(model, n_samples, hop_ms), total = model->frames(n_samples);
    if (!count || !hd_finite(audio, n_samples)) return HD_BAD_ARGUMENT;
    const hd_rate rate(hop_ms, model->sample_rate);
    try {
        std::vector<float> grid;
        for (int64_t first = 0; first < total; first += model->chunk_frames) {
            const hd_chunk chunk = model->chunk(first, n_samples);
            const int64_t from = rate.from(first * model->hop_length);
            make_grid(grid, *model, first, from, end_of(*model, rate, chunk, n_samples), hop_ms);
            if (embed(*model, chunk, audio + chunk.start, grid, hop_ms, nullptr, out + from * model->size))
                return HD_NO_MEMORY;
        }
        for (int64_t i = 0; milliseconds && i < count; i++) milliseconds[i] = (float)((double)i * hop_ms);
        return HD_OK;
    } catch (const std::bad_alloc&) {
        return HD_NO_MEMORY;
    }
}

hd_stream* hd_stream_open(hd_model* model, double hop_ms, hd_sink sink, void* own) {
    if (!sink || !hd_rate(hop_ms, model->sample_rate).of) return nullptr;
    try {
        return new hd_stream(model, hop_ms, sink, own);
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

int hd_stream_push(hd_stream* stream, const float* samples, long n_samples) {
    if (stream->over || n_samples < 0 || !hd_finite(samples, n_samples)) return HD_BAD_ARGUMENT;
    try {
        return stream->push(samples, n_samples);
    } catch (const std::bad_alloc&) {
        return HD_NO_MEMORY;
    }
}

int hd_stream_finish(hd_stream* stream, float* scene) {
    if (stream->over) return HD_BAD_ARGUMENT;
    try {
        return stream->finish(scene);
    } catch (const std::bad_alloc&) {
        return HD_NO_MEMORY;
    }
}

void hd_stream_free(hd_stream* stream) { delete stream; }
#pragma GCC visibility pop
}
