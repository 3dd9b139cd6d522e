// hear_diffres.h: a .hear file read and whole sounds cut into chunks, as engine.py and chunks.py do it.
#include "hear_diffres.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <map>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "api.h"

namespace {

struct Fault : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Matrix {
    int64_t at, rows, columns;
};

// The head: strings, two counts, and where int8 matrices are.
struct Head {
    std::map<std::string, std::string> strings;
    int64_t plan = -1, weights = -1;
    std::vector<Matrix> matrices;
};

// As much of JSON as `Program.save` writes.
class Reader {
  public:
    explicit Reader(const std::string& text) : here(text.data()), end(here + text.size()) {}

    Head head() {
        Head found;
        object([&](const std::string& key) {
            if (key == "plan") found.plan = integer();
            else if (key == "weights") found.weights = integer();
            else if (key == "strings") object([&](const std::string& name) { found.strings[name] = string(); });
            else if (key == "int8") array([&] { found.matrices.push_back(matrix()); });
            else throw Fault("its head has a part that is not known: " + key);
        });
        if (next()) throw Fault("its head does not end where it should");
        return found;
    }

  private:
    const char *here, *end;

    char next() {  // that is not space, 0 at the end; stays there
        while (here < end && (*here == ' ' || *here == '\n' || *here == '\t' || *here == '\r')) here++;
        return here < end ? *here : 0;
    }
    void expect(char wanted) {
        if (next() != wanted) throw Fault("its head cannot be read");
        here++;
    }
    template <typename F>
    void list(char open, char close, F item) {
        expect(open);
        if (next() == close) return (void)here++;
        for (;;) {
            item();
            if (next() != ',') break;
            here++;
        }
        expect(close);
    }
    template <typename F>
    void array(F item) {
        list('[', ']', item);
    }
    template <typename F>
    void object(F item) {
        list('{', '}', [&] {
            std::string key = string();
            expect(':');
            item(key);
        });
    }
    int64_t integer() {
        bool minus = next() == '-';
        if (minus) here++;
        int64_t value = 0;
        const char* first = here;
        while (here < end && *here >= '0' && *here <= '9' && here - first < 18) value = 10 * value + (*here++ - '0');
        if (here == first) throw Fault("its head cannot be read");
        return minus ? -value : value;
    }
    Matrix matrix() {
        std::vector<int64_t> numbers;
        array([&] { numbers.push_back(integer()); });
        if (numbers.size() != 3) throw Fault("its matrices make no sense");
        return {numbers[0], numbers[1], numbers[2]};
    }
    std::string string() {
        expect('"');
        std::string found;
        while (here < end && *here != '"') {
            if (*here != '\\') {
                found += *here++;
                continue;
            }
            if (++here == end) break;
            switch (char c = *here++) {
                case 'n': found += '\n'; break;
                case 't': found += '\t'; break;
                case 'r': found += '\r'; break;
                case 'b': found += '\b'; break;
                case 'f': found += '\f'; break;
                case 'u': found += utf8(); break;
                default: found += c;
            }
        }
        expect('"');
        return found;
    }
    unsigned hex() {
        unsigned value = 0;
        for (int i = 0; i < 4; i++) {
            char c = here < end ? *here++ : 0;
            if (c >= '0' && c <= '9') value = 16 * value + (unsigned)(c - '0');
            else if (c >= 'a' && c <= 'f') value = 16 * value + (unsigned)(c - 'a' + 10);
            else if (c >= 'A' && c <= 'F') value = 16 * value + (unsigned)(c - 'A' + 10);
            else throw Fault("its head cannot be read");
        }
        return value;
    }
    std::string utf8() {
        unsigned c = hex();
        if (c >= 0xD800 && c < 0xDC00 && end - here >= 6 && here[0] == '\\' && here[1] == 'u') {
            here += 2;
            c = 0x10000 + ((c - 0xD800) << 10) + ((hex() - 0xDC00) & 0x3FF);
        }
        std::string s;
        if (c < 0x80) return s += (char)c;
        int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
        s += (char)((0xF0 << (3 - more) & 0xFF) | c >> 6 * more);
        while (more--) s += (char)(0x80 | (c >> 6 * more & 0x3F));
        return s;
    }
};

struct File {
    FILE* handle;
    explicit File(const char* path) : handle(fopen(path, "rb")) {
        if (!handle) throw Fault("cannot be opened");
    }
    ~File() { fclose(handle); }
    template <typename T>
    void read(T* into, int64_t count) {
        if (count && fread(into, sizeof(T), (size_t)count, handle) != (size_t)count) throw Fault("is cut short");
    }
    int64_t left() {
        long here = ftell(handle);
        if (here < 0 || fseek(handle, 0, SEEK_END)) throw Fault("cannot be read");
        long size = ftell(handle);
        if (fseek(handle, here, SEEK_SET)) throw Fault("cannot be read");
        return size - here;
    }
};

void check(const Head& head, int64_t left) {
    const int64_t most = (int64_t)1 << 40;
    int64_t done = 0, saved = 0;
    if (head.plan < 0 || head.plan > most || head.weights < 0 || head.weights > most)
        throw Fault("its head cannot be read");
    for (const Matrix& m : head.matrices) {
        if (m.at < done || m.rows < 1 || m.columns < 1 || m.rows > most / m.columns || m.at > head.weights)
            throw Fault("its matrices make no sense");
        done = m.at + m.rows * m.columns, saved += 3 * m.rows * m.columns - 4 * m.columns;
    }
    if (done > head.weights) throw Fault("its matrices make no sense");
    if (left != 8 * head.plan + 4 * head.weights - saved) throw Fault("its size is not what its head says");
}

std::vector<float> read_weights(File& file, const Head& head) {
    std::vector<float> weights((size_t)head.weights);
    int64_t done = 0;
    for (const Matrix& m : head.matrices) {
        file.read(&weights[(size_t)done], m.at - done);
        std::vector<float> scales((size_t)m.columns);
        std::vector<int8_t> steps((size_t)(m.rows * m.columns));
        file.read(scales.data(), m.columns);
        file.read(steps.data(), m.rows * m.columns);
        float* into = &weights[(size_t)m.at];
        for (int64_t i = 0; i < m.rows * m.columns; i++) into[i] = steps[(size_t)i] * scales[(size_t)(i % m.columns)];
        done = m.at + m.rows * m.columns;
    }
    file.read(weights.data() + done, head.weights - done);
    return weights;
}

int64_t common(int64_t a, int64_t b) { return b ? common(b, a % b) : a; }

// Timestamps per sample as a fraction, so that none is lost or doubled by rounding; `of` 0 where hop_ms is out of range.
struct Rate {
    int64_t top = 0, of = 0;

    Rate(double hop_ms, int64_t sample_rate) {
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
    int64_t up_to(int64_t samples) const { return samples * top / of; }
    int64_t from(int64_t samples) const { return (samples * top + of - 1) / of; }
};

}  // namespace

struct hd_model {
    void* engine = nullptr;
    std::map<std::string, std::string> strings;
    int64_t sample_rate, hop_length, n_fft, context_frames, chunk_frames;
    long size;

    ~hd_model() {
        if (engine) hd_close(engine);
    }
    const char* find(const char* name) const {
        auto found = strings.find(std::string("hear_diffres.") + name);
        return found == strings.end() ? nullptr : found->second.c_str();
    }
    int64_t number(const char* name) const {
        const char* text = find(name);
        long value = text ? strtol(text, nullptr, 10) : 0;
        if (value < 1 && !(text && !strcmp(text, "0"))) throw Fault(std::string("its metadata lacks ") + name);
        return value;
    }
    void read(const char* path, int threads) {
        File file(path);
        char magic[8];
        uint8_t bytes[8];
        if (file.left() < 16) throw Fault("is not a file of the compiled engine");
        file.read(magic, 8);
        file.read(bytes, 8);
        if (memcmp(magic, "HEARDIFF", 8)) throw Fault("is not a file of the compiled engine");
        uint64_t length = 0;
        for (int i = 8; i--;) length = length << 8 | bytes[i];
        if (length > (uint64_t)file.left()) throw Fault("is cut short");
        std::string text((size_t)length, 0);
        file.read(&text[0], (int64_t)length);
        Head head = Reader(text).head();
        check(head, file.left());
        strings = head.strings;
        if (number("format") != 1) throw Fault("is for a newer runtime");
        sample_rate = number("sample_rate"), hop_length = number("hop_length"), n_fft = number("n_fft");
        context_frames = number("context_frames"), chunk_frames = number("chunk_frames");
        if (!sample_rate || !hop_length || !chunk_frames) throw Fault("its metadata makes no sense");
        std::vector<int64_t> plan((size_t)head.plan);
        file.read(plan.data(), head.plan);
        std::vector<float> weights = read_weights(file, head);
        engine = hd_open(plan.data(), (long)plan.size(), weights.data(), (long)weights.size(), threads, 0);
        if (!engine) throw Fault("its numbers make no model of this engine's format");
        size = hd_size(engine);
    }
    // Calls body(first frame, frames, samples, their count) for each chunk; stops at what is not HD_OK.
    template <typename F>
    int chunks(const float* audio, long n, F body) const {
        int64_t total = 1 + (n - 1) / hop_length;
        for (int64_t first = 0; first < total; first += chunk_frames) {
            int64_t last = first + chunk_frames < total ? first + chunk_frames : total;
            int64_t start = (first - context_frames) * hop_length - n_fft / 2;
            int64_t stop = (last - 1) * hop_length + n_fft / 2 + 1;
            if (start < 0) start = 0;
            if (stop > n) stop = n;
            int failed = body(first, last - first, audio + start, (long)(stop - start));
            if (failed) return failed;
        }
        return HD_OK;
    }
};

extern "C" {
#pragma GCC visibility push(default)

hd_model* hd_load(const char* path, int threads, const char** why) {
    static thread_local std::string text;
    hd_model* model = nullptr;
    try {
        model = new hd_model;
        model->read(path, threads);
        return model;
    } catch (const std::bad_alloc&) {
        text = std::string(path) + ": not enough memory";
    } catch (const std::exception& fault) {
        text = std::string(path) + ": " + fault.what();
    }
    delete model;
    if (why) *why = text.c_str();
    return nullptr;
}

void hd_free(hd_model* model) { delete model; }

int hd_sample_rate(const hd_model* model) { return (int)model->sample_rate; }

long hd_embedding_size(const hd_model* model) { return model->size; }

const char* hd_metadata(const hd_model* model, const char* name) { return model->find(name); }

int hd_scene_embedding(hd_model* model, const float* audio, long n_samples, float* out) {
    if (n_samples < 1 || !hd_finite(audio, n_samples)) return HD_BAD_ARGUMENT;
    try {
        const size_t size = (size_t)model->size;
        std::vector<float> part(size), sum(size);
        int64_t total = 0;
        int failed = model->chunks(audio, n_samples, [&](int64_t first, int64_t frames, const float* piece, long n) {
            if (hd_embed(model->engine, piece, n, first == 0, (long)frames, nullptr, 0, 50, part.data(), nullptr, nullptr))
                return (int)HD_NO_MEMORY;
            for (size_t i = 0; i < size; i++) sum[i] += part[i] * (float)frames;
            total += frames;
            return (int)HD_OK;
        });
        if (!failed)
            for (size_t i = 0; i < size; i++) out[i] = sum[i] / (float)total;
        return failed;
    } catch (const std::bad_alloc&) {
        return HD_NO_MEMORY;
    }
}

long hd_timestamps(const hd_model* model, long n_samples, double hop_ms) {
    Rate rate(hop_ms, model->sample_rate);
    return rate.of && n_samples > 0 ? (long)rate.up_to(n_samples) + 1 : 0;
}

int hd_timestamp_embeddings(hd_model* model, const float* audio, long n_samples, double hop_ms, float* out,
                            float* milliseconds) {
    const int64_t count = hd_timestamps(model, n_samples, hop_ms);
    if (!count || !hd_finite(audio, n_samples)) return HD_BAD_ARGUMENT;
    const Rate rate(hop_ms, model->sample_rate);
    const double frame_ms = 1000.0 * (double)model->hop_length / (double)model->sample_rate;
    try {
        std::vector<float> grid;
        int failed = model->chunks(audio, n_samples, [&](int64_t first, int64_t frames, const float* piece, long n) {
            // One on the border to the next chunk is among both; the later chunk's counts.
            int64_t from = rate.from(first * model->hop_length);
            int64_t to = rate.up_to((first + frames) * model->hop_length) + 1;
            if (to > count) to = count;
            if (to <= from) return (int)HD_OK;
            grid.clear();
            for (int64_t i = from; i < to; i++) grid.push_back((float)((double)i * hop_ms - (double)first * frame_ms));
            float* rows = out + from * model->size;
            return hd_embed(model->engine, piece, n, first == 0, (long)frames, grid.data(), (long)grid.size(), hop_ms,
                            nullptr, rows, nullptr)
                       ? (int)HD_NO_MEMORY
                       : (int)HD_OK;
        });
        for (int64_t i = 0; milliseconds && !failed && i < count; i++) milliseconds[i] = (float)((double)i * hop_ms);
        return failed;
    } catch (const std::bad_alloc&) {
        return HD_NO_MEMORY;
    }
}
#pragma GCC visibility pop
}
