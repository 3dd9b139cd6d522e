/* Embeds a WAV file (mono, 16-bit or float, at the model's rate) with a .hear file. Prints the scene embedding, or with
 * a hop in milliseconds the timestamp embeddings, one a line, the time first. For "-", samples come from standard input
 * as 32-bit floats, and each line is printed as soon as it is final.
 *
 *     embed MODEL.hear SOUND.wav|- [HOP_MS]
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hear_diffres.h"

static uint32_t u32(const unsigned char* b) { return b[0] | b[1] << 8 | b[2] << 16 | (uint32_t)b[3] << 24; }
static int u16(const unsigned char* b) { return b[0] | b[1] << 8; }

static void fail(const char* what, const char* why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

/* Samples of a WAV file; `*n` of them. */
static float* read_wav(const char* path, int rate, long* n) {
    FILE* file = fopen(path, "rb");
    unsigned char head[12], part[8], format[16];
    int kind = 0, bits = 0;
    if (!file) fail(path, "cannot be opened");
    if (fread(head, 1, 12, file) != 12 || memcmp(head, "RIFF", 4) || memcmp(head + 8, "WAVE", 4))
        fail(path, "is no WAV file");
    while (fread(part, 1, 8, file) == 8) {
        uint32_t size = u32(part + 4);
        if (!memcmp(part, "fmt ", 4) && size >= 16) {
            unsigned char more[10];
            uint32_t left = size - 16;
            if (fread(format, 1, 16, file) != 16) break;
            kind = u16(format), bits = u16(format + 14);
            if (kind == 0xfffe && left >= 10) { /* extensible: the kind proper comes later */
                if (fread(more, 1, 10, file) != 10) break;
                kind = u16(more + 8), left -= 10;
            }
            if (u16(format + 2) != 1) fail(path, "is not mono");
            if ((int)u32(format + 4) != rate) fail(path, "has another sample rate than the model");
            if (!(kind == 1 && bits == 16) && !(kind == 3 && bits == 32)) fail(path, "is neither 16-bit nor float");
            fseek(file, (long)(left + size % 2), SEEK_CUR);
        } else if (!memcmp(part, "data", 4) && kind) {
            long i, count = (long)(size / (uint32_t)(bits / 8));
            float* samples = malloc((size_t)(count + 1) * sizeof(float));
            if (!samples) fail(path, "is too long");
            for (i = 0; i < count; i++) {
                unsigned char b[4] = {0};
                if (fread(b, 1, (size_t)(bits / 8), file) != (size_t)(bits / 8)) break; /* cut short: what there is */
                if (kind == 1) {
                    samples[i] = (float)(int16_t)u16(b) / 32768.0f;
                } else {
                    uint32_t word = u32(b);
                    memcpy(samples + i, &word, 4);
                }
            }
            *n = i;
            fclose(file);
            return samples;
        } else {
            fseek(file, (long)(size + size % 2), SEEK_CUR);
        }
    }
    fail(path, "holds no samples");
    return NULL;
}

static void print(const float* vector, long size) {
    long i;
    for (i = 0; i < size; i++) printf("%.9g%c", vector[i], i + 1 < size ? ' ' : '\n');
}

static void print_at(void* own, double milliseconds, const float* vector) {
    printf("%.9g ", milliseconds);
    print(vector, *(long*)own);
    fflush(stdout);
}

static void listen(hd_model* model, double hop) {
    static float piece[3200];
    long size = hd_embedding_size(model);
    hd_stream* stream = hd_stream_open(model, hop, print_at, &size);
    size_t n;
    if (!stream) fail("-", "a bad hop, or not enough memory");
    while ((n = fread(piece, sizeof(float), 3200, stdin)) > 0)
        if (hd_stream_push(stream, piece, (long)n)) fail("-", "some samples are not finite, or not enough memory");
    if (hd_stream_finish(stream, NULL)) fail("-", "not enough memory");
    hd_stream_free(stream);
}

int main(int argc, char** argv) {
    const char* why;
    hd_model* model;
    char* end;
    float *audio, *vectors, *times;
    long n, count, size, row;
    double hop;
    int failed;
    if (argc < 3) {
        fprintf(stderr, "usage: %s MODEL.hear SOUND.wav|- [HOP_MS]\n", argv[0]);
        return 2;
    }
    model = hd_load(argv[1], 1, &why);
    if (!model) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    hop = argc > 3 ? strtod(argv[3], &end) : 0;
    if (argc > 3 && (end == argv[3] || *end || !(hop > 0))) fail(argv[3], "is no hop in milliseconds");
    if (!strcmp(argv[2], "-")) {
        listen(model, hop ? hop : 50);
        hd_free(model);
        return 0;
    }
    audio = read_wav(argv[2], hd_sample_rate(model), &n);
    size = hd_embedding_size(model);
    count = hop ? hd_timestamps(model, n, hop) : 1;
    vectors = malloc((size_t)(count * size + 1) * sizeof(float));
    times = malloc((size_t)(count + 1) * sizeof(float));
    if (!vectors || !times) fail(argv[2], "not enough memory");
    failed = hop ? hd_timestamp_embeddings(model, audio, n, hop, vectors, times)
                 : hd_scene_embedding(model, audio, n, vectors);
    if (failed) fail(argv[2], failed == HD_NO_MEMORY ? "not enough memory" : "no samples, some not finite, or a bad hop");
    fprintf(stderr, "%s at %s, %ld samples\n", hd_metadata(model, "model"), hd_metadata(model, "reduction"), n);
    for (row = 0; row < count; row++) {
        if (hop) printf("%.9g ", times[row]);
        print(vectors + row * size, size);
    }
    free(vectors), free(times), free(audio);
    hd_free(model);
    return 0;
}
