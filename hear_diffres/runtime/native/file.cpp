// hear_diffres.h: a .hear file read, as engine.py and metadata.py do it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <map>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "opened.h"

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

// CRC-32 as zlib has it.
struct Checksum {
    uint32_t table[256], value = 0xFFFFFFFF;
    Checksum() {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int bit = 0; bit < 8; bit++) c = c & 1 ? c >> 1 ^ 0xEDB88320 : c >> 1;
            table[i] = c;
        }
    }
    void add(const void* bytes, size_t count) {
        const unsigned char* at = (const unsigned char*)bytes;
        for (size_t i = 0; i < count; i++) value = table[(value ^ at[i]) & 0xFF] ^ value >> 8;
    }
    std::string text() const {  // in ten digits
        const std::string digits = std::to_string(value ^ 0xFFFFFFFF);
        return std::string(10 - digits.size(), '0') + digits;
    }
};

struct File {
    FILE* handle;
    Checksum* sum = nullptr;  // of what is read from now on
    explicit File(const char* path) : handle(fopen(path, "rb")) {
        if (!handle) throw Fault("cannot be opened");
    }
    ~File() { fclose(handle); }
    template <typename T>
    void read(T* into, int64_t count) {
        if (count && fread(into, sizeof(T), (size_t)count, handle) != (size_t)count) throw Fault("is cut short");
        if (sum) sum->add(into, sizeof(T) * (size_t)count);
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

const char* find(const hd_model& model, const char* name) {
    auto found = model.strings.find(std::string("hear_diffres.") + name);
    return found == model.strings.end() ? nullptr : found->second.c_str();
}

int64_t number(const hd_model& model, const char* name, int64_t least) {
    const char* text = find(model, name);
    char* end = nullptr;
    const long value = text ? strtol(text, &end, 10) : 0;
    if (!text || end == text || *end || value < least || value > 1000000000)
        throw Fault(std::string("its metadata lacks a good ") + name);
    return value;
}

void read(hd_model& model, const char* path, int threads) {
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
    model.strings = head.strings;
    if (number(model, "format", 0) != 1) throw Fault("is for another runtime");
    model.sample_rate = number(model, "sample_rate", 1), model.hop_length = number(model, "hop_length", 1);
    model.n_fft = number(model, "n_fft", 1), model.context_frames = number(model, "context_frames", 0);
    model.chunk_frames = number(model, "chunk_frames", 1);
    const auto said = head.strings.find("checksum");  // older files have none
    Checksum sum;
    if (said != head.strings.end()) {
        const size_t at = text.find(said->second);  // zeros stood there when it was made
        if (at != std::string::npos && said->second.size() == 10) text.replace(at, 10, 10, '0');
        sum.add(text.data(), text.size());
    }
    file.sum = &sum;
    std::vector<int64_t> plan((size_t)head.plan);
    file.read(plan.data(), head.plan);
    std::vector<float> weights = read_weights(file, head);
    if (said != head.strings.end() && said->second != sum.text()) throw Fault("it is damaged");
    model.engine = hd_open(plan.data(), (long)plan.size(), weights.data(), (long)weights.size(), threads, "");
    if (!model.engine) throw Fault("its numbers make no model of this engine's format");
    model.size = hd_size(model.engine);
}

}  // namespace

extern "C" {
#pragma GCC visibility push(default)

hd_model* hd_load(const char* path, int threads, const char** why) {
    static thread_local std::string text;
    hd_model* model = nullptr;
    try {
        model = new hd_model;
        read(*model, path, threads);
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

const char* hd_metadata(const hd_model* model, const char* name) { return find(*model, name); }
#pragma GCC visibility pop
}
