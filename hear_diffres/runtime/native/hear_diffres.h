/* Audio embeddings from a .hear file in C: what `hear-diffres export MODEL -o FILE.hear` wrote, without Python.
 *
 * Compile with the C++ files beside this one (examples/c/README.md); nothing else is needed. Functions that take a
 * model may be called from several threads at once. */
#ifndef HEAR_DIFFRES_H
#define HEAR_DIFFRES_H

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hd_model hd_model;

enum { HD_OK = 0, HD_NO_MEMORY = 1, HD_BAD_ARGUMENT = 2 };

/* Open a file. `threads` share out the work on a sound; 0: one. Null on failure, and where `why` is not null,
 * `*why` is then a text that says why, valid until this thread's next hd_load. */
hd_model* hd_load(const char* path, int threads, const char** why);
void hd_free(hd_model* model);

/* Hz; audio must have this rate. */
int hd_sample_rate(const hd_model* model);
/* Length of a vector. */
long hd_embedding_size(const hd_model* model);
/* What the file says about itself: "model", "embedding", "reduction", "precision", "weights_sha256" ...; null: nothing.
 * The names are those of hear_diffres.runtime.metadata.Metadata. */
const char* hd_metadata(const hd_model* model, const char* name);

/* One vector for a whole sound. `audio`: `n_samples` >= 1 mono samples, full scale 1, all finite. `out`: room for
 * hd_embedding_size. Long sounds are embedded in pieces of 10 s: memory beyond `audio` does not grow with length.
 * HD_BAD_ARGUMENT: no samples, or one that is not finite. */
int hd_scene_embedding(hd_model* model, const float* audio, long n_samples, float* out);

/* Vectors at 0, hop, 2 hop ... up to the sound's end, `hop_ms` in 1 ... 10000; 0 where it is not. */
long hd_timestamps(const hd_model* model, long n_samples, double hop_ms);
/* `out`: room for hd_timestamps x hd_embedding_size; `milliseconds`: for hd_timestamps, or null. */
int hd_timestamp_embeddings(hd_model* model, const float* audio, long n_samples, double hop_ms, float* out,
                            float* milliseconds);

/* A sound while it is being heard. Each vector goes to `sink` once it is final: a chunk (10 s, or what `hear-diffres
 * export --chunk-seconds` said) after its moment at most, and 6 ms. All that is given is what hd_timestamp_embeddings
 * gives for the whole sound, however it was cut. Memory is one chunk, whatever the length. A stream is for one thread
 * at a time; its model may be used elsewhere meanwhile and must outlive it. */
typedef struct hd_stream hd_stream;
typedef void (*hd_sink)(void* own, double milliseconds, const float* vector);

/* `own` is handed to `sink`. Null: no sink, `hop_ms` out of range, or no memory. */
hd_stream* hd_stream_open(hd_model* model, double hop_ms, hd_sink sink, void* own);
/* Any number of samples, none included. HD_BAD_ARGUMENT: one is not finite, or the stream is finished; nothing of the
 * piece is then taken. After HD_NO_MEMORY the stream can only be freed. */
int hd_stream_push(hd_stream* stream, const float* samples, long n_samples);
/* The rest of the vectors. `scene`: null, or room for the scene embedding of all that was heard (HD_BAD_ARGUMENT where
 * nothing was). */
int hd_stream_finish(hd_stream* stream, float* scene);
void hd_stream_free(hd_stream* stream);

#ifdef __cplusplus
}
#endif
#endif
