// A model as read from the two arrays that `hear_diffres.export.native` writes: whole numbers and floats, in order.
#pragma once
#include <stdlib.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#include "fft.h"
#include "products.h"

namespace {

const int MAX_BLOCKS = 32, FORMAT = 2;
enum Part { MELS = 0, BLOCK = 100, SE = 200, LAST = 300, HIDDEN = 301, LOGITS = 302, STD = 400 };

const size_t HUGE_PAGE = 1 << 21;

// Room for `n`, in pages of 2 MB where that pays and the system has them: a wide model's weights are more of the usual
// pages than the processor remembers.
inline float* floats(long n) {
    const size_t bytes = ((size_t)n * sizeof(float) + 127) / 64 * 64;
    float* data = (float*)aligned_alloc(bytes < HUGE_PAGE ? 64 : HUGE_PAGE, bytes);
#ifdef MADV_HUGEPAGE
    if (data && bytes >= HUGE_PAGE) madvise(data, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);  // whole ones
#endif
    return data;
}

// Reads `n` at a time; null, and `ok` false for good, where there are not so many.
template <typename T>
struct Reader {
    const T* at;
    long left;
    bool ok = true;

    const T* take(long n) {
        if (n < 0 || n > left) ok = false;
        if (!ok) return 0;
        const T* here = at;
        at += n, left -= n;
        return here;
    }
};

struct Plan : Reader<int64_t> {
    int next(int least, int most) {
        const int64_t* x = take(1);
        if (!x || *x < least || *x > most) ok = false;
        return ok ? (int)*x : least;
    }
};

typedef Reader<float> Weights;

// A layer without neighbours: a 1 x 1 convolution or a linear layer.
struct Pointwise {
    int in = 0, out = 0, act = NONE;
    float *weight = 0, *packed = 0, *bias = 0;

    // Weights stand as [in][out]. `rough`: for `multiply`, else for `gemm`. `keep` them as they are too, for those that are
    // packed anew with gates.
    bool read(Weights& w, int n_in, int n_out, int activation, bool rough = false, bool keep = false) {
        in = n_in, out = n_out, act = activation;
        const float *rows = w.take((long)in * out), *b = w.take(out);
        if (!w.ok) return false;
        packed = floats(rough ? rough_floats(in, out) : packed_floats(in, out)), bias = floats(out);
        memcpy(bias, b, out * sizeof(float));
        rough ? pack_rough(rows, in, out, packed) : pack(rows, in, out, packed);
        if (keep) weight = floats((long)in * out), memcpy(weight, rows, (long)in * out * sizeof(float));
        return true;
    }
    void free_all() { free(weight), free(packed), free(bias); }
};

struct Taps {  // a depthwise or the first convolution: weights [k k][channels], or [k k in][channels]
    int kernel = 0, stride = 1, channels = 0, act = NONE;
    float *weight = 0, *bias = 0;

    bool read(Weights& w, int k, int s, int in, int c, int activation) {
        kernel = k, stride = s, channels = c, act = activation;
        const float *a = w.take((long)k * k * in * c), *b = w.take(c);
        if (!w.ok) return false;
        weight = floats((long)k * k * in * c), bias = floats(c);
        memcpy(weight, a, (long)k * k * in * c * sizeof(float)), memcpy(bias, b, c * sizeof(float));
        return true;
    }
    void free_all() { free(weight), free(bias); }
};

struct Block {
    Pointwise expand, project, squeeze, excite;
    Taps depthwise;
    bool has_expand = false, has_se = false, residual = false;
    int first = 0;  // of the expanded channels, where it is a part of a block: `part_of`
};

struct FrontEnd {
    int hop, context, n_mels, lo, hi;
    float preemphasis, floor, shift, scale;
    float* window;  // halved, see power_spectrum
    int *first, *count;
    float* bank;
    Twiddles twiddles;
};

struct Merging {
    int bands, block_frames, width;  // width 0: all frames alike
    double stay, keep, frame_ms;     // stay: share of the frames that is not dropped; keep: bins for each of those
    float *code, *taps, *score;
    Pointwise reduce, mix[2];
};

struct Model {
    FrontEnd front;
    Merging merging;
    Taps stem;
    int n_blocks, last_needed;  // last_needed: blocks that the parts need
    Block blocks[MAX_BLOCKS];
    bool has_last, has_head;
    Pointwise last, hidden, logits;
    int n_logits;
    int n_parts, parts[4 * MAX_BLOCKS], size;

    int width_of(int part) const {
        if (part == MELS) return front.n_mels;
        if (part == LAST) return last.out;
        if (part == HIDDEN) return hidden.out;
        if (part == LOGITS) return n_logits;
        if (part >= STD) part += BLOCK - STD;  // as wide as the block it is of
        if (part == BLOCK) return stem.channels;
        return part > SE ? blocks[part - SE - 1].squeeze.out : blocks[part - BLOCK - 1].project.out;
    }
    bool wants(int part) const {
        for (int i = 0; i < n_parts; i++)
            if (parts[i] == part) return true;
        return false;
    }
};

inline bool read_front(FrontEnd& f, Plan& plan, Weights& w) {
    f.hop = plan.next(1, 1 << 20), f.context = plan.next(0, 64), f.n_mels = plan.next(8, 4096);
    const float* numbers = w.take(4);
    const float* window = w.take(FFT_SIZE);
    if (!plan.ok || !w.ok || f.n_mels % LANES) return false;
    f.preemphasis = numbers[0], f.floor = numbers[1], f.shift = numbers[2], f.scale = numbers[3];
    f.window = floats(FFT_SIZE);
    f.lo = FFT_SIZE, f.hi = 0;
    for (int i = 0; i < FFT_SIZE; i++) {
        f.window[i] = window[i] * 0.5f;
        if (window[i] != 0) f.lo = i < f.lo ? i : f.lo, f.hi = i + 1;
    }
    f.lo = f.lo / LANES * LANES, f.hi = (f.hi + LANES - 1) / LANES * LANES;
    f.first = (int*)malloc(f.n_mels * sizeof(int)), f.count = (int*)malloc(f.n_mels * sizeof(int));
    long total = 0;
    for (int b = 0; b < f.n_mels; b++) {
        f.first[b] = plan.next(0, HALF), f.count[b] = plan.next(0, HALF + 1);
        if (f.first[b] + f.count[b] > HALF + 1) return false;
        total += f.count[b];
    }
    const float* bank = w.take(total);
    if (!plan.ok || !w.ok) return false;
    f.bank = floats(total);
    memcpy(f.bank, bank, total * sizeof(float));
    f.twiddles.fill();
    return true;
}

inline bool read_merging(Merging& m, const FrontEnd& f, Plan& plan, Weights& w, int format) {
    m.bands = plan.next(8, f.n_mels), m.block_frames = plan.next(1, 1 << 16), m.width = plan.next(0, 1024);
    const int64_t* stay = format > 1 ? plan.take(1) : 0;  // the bits of a double
    const int64_t* keep = plan.take(1);
    m.stay = 1;
    if (stay) memcpy(&m.stay, stay, sizeof m.stay);
    const float* frame_ms = w.take(1);
    const float* code = w.take((long)m.block_frames * m.bands);
    if (keep) memcpy(&m.keep, keep, sizeof m.keep);
    if (!plan.ok || !w.ok || !(m.keep > 0 && m.keep <= 1) || !(m.stay > 0 && m.stay <= 1)) return false;
    if (f.n_mels % m.bands || m.bands % LANES || m.width % LANES) return false;
    m.frame_ms = frame_ms[0];
    m.code = floats((long)m.block_frames * m.bands);
    memcpy(m.code, code, (long)m.block_frames * m.bands * sizeof(float));
    if (!m.width) return true;
    m.taps = floats(2 * 5 * m.width), m.score = floats(m.width + 1);
    if (!m.reduce.read(w, m.bands, m.width, HARDSWISH)) return false;
    for (int i = 0; i < 2; i++) {
        const float* taps = w.take(5 * m.width);
        if (!w.ok || !m.mix[i].read(w, m.width, m.width, HARDSWISH)) return false;
        memcpy(m.taps + i * 5 * m.width, taps, 5 * m.width * sizeof(float));
    }
    const float* score = w.take(m.width + 1);
    if (!w.ok) return false;
    memcpy(m.score, score, (m.width + 1) * sizeof(float));
    return true;
}

inline bool read_block(Block& b, int c_in, Plan& plan, Weights& w) {
    int kernel = plan.next(1, 15), mid = plan.next(8, 1 << 16), out = plan.next(8, 1 << 16);
    int squeeze = plan.next(0, 1 << 16), act = plan.next(NONE, HARDSWISH), stride = plan.next(1, 2);
    b.has_expand = plan.next(0, 1), b.residual = plan.next(0, 1), b.has_se = squeeze > 0;
    if (!plan.ok || mid % LANES || out % LANES || squeeze % LANES || !(kernel == 3 || kernel == 5)) return false;
    if ((!b.has_expand && mid != c_in) || (b.residual && (stride != 1 || out != c_in))) return false;
    if (b.has_expand && !b.expand.read(w, c_in, mid, act, true)) return false;
    if (!b.depthwise.read(w, kernel, stride, 1, mid, act)) return false;
    if (b.has_se && !(b.squeeze.read(w, mid, squeeze, NONE) && b.excite.read(w, squeeze, mid, NONE))) return false;
    return b.project.read(w, mid, out, NONE, true, b.has_se);
}

inline bool read_model(Model& m, Plan& plan, Weights& w) {
    const int format = plan.next(1, FORMAT);
    if (!plan.ok || !read_front(m.front, plan, w) || !read_merging(m.merging, m.front, plan, w, format)) return false;
    int stem = plan.next(8, 4096);
    if (!plan.ok || stem % LANES || !m.stem.read(w, 3, 2, 3, stem, HARDSWISH)) return false;
    m.n_blocks = plan.next(1, MAX_BLOCKS);
    for (int i = 0, c = stem; i < m.n_blocks && plan.ok; i++) {
        if (!read_block(m.blocks[i], c, plan, w)) return false;
        c = m.blocks[i].project.out;
    }
    if (!plan.ok) return false;
    int c = m.blocks[m.n_blocks - 1].project.out;
    m.has_last = plan.next(0, 1);
    if (m.has_last && !m.last.read(w, c, 6 * c, HARDSWISH, true)) return false;
    m.has_head = plan.next(0, 1);
    if (m.has_head) {
        int hidden = plan.next(8, 1 << 16);
        m.n_logits = plan.next(1, 1 << 16);
        int padded = (m.n_logits + LANES - 1) / LANES * LANES;
        if (!plan.ok || hidden % LANES || !m.has_last) return false;
        if (!m.hidden.read(w, 6 * c, hidden, HARDSWISH) || !m.logits.read(w, hidden, padded, NONE)) return false;
    }
    m.n_parts = plan.next(1, 4 * MAX_BLOCKS);
    for (int i = 0; i < m.n_parts && plan.ok; i++) {
        int p = m.parts[i] = plan.next(MELS, STD + MAX_BLOCKS);
        bool block = p >= BLOCK && p <= BLOCK + m.n_blocks, se = p > SE && p <= SE + m.n_blocks;
        bool std = p >= STD && p <= STD + m.n_blocks, head = p == HIDDEN || p == LOGITS;
        if (se && !m.blocks[p - SE - 1].has_se) return false;
        if (!(p == MELS || block || se || std || (p == LAST && m.has_last) || (head && m.has_head))) return false;
        int needs = p == MELS ? -1 : std ? p - STD : p >= LAST ? m.n_blocks : p > SE ? p - SE : p - BLOCK;
        m.last_needed = needs > m.last_needed ? needs : m.last_needed;
        m.size += m.width_of(p);
    }
    return plan.ok && w.ok && plan.left == 0 && w.left == 0;
}

inline void free_model(Model* m) {
    free(m->front.window), free(m->front.first), free(m->front.count), free(m->front.bank);
    free(m->merging.code), free(m->merging.taps), free(m->merging.score), m->merging.reduce.free_all();
    for (Pointwise& p : m->merging.mix) p.free_all();
    m->stem.free_all(), m->last.free_all(), m->hidden.free_all(), m->logits.free_all();
    for (Block& b : m->blocks)
        b.expand.free_all(), b.project.free_all(), b.squeeze.free_all(), b.excite.free_all(), b.depthwise.free_all();
    free(m);
}

inline Model* open_model(const int64_t* plan, long n_plan, const float* weights, long n_weights) {
    Model* m = (Model*)calloc(1, sizeof(Model));
    Plan p;
    p.at = plan, p.left = n_plan;
    Weights w = {weights, n_weights};
    m->last_needed = -1;
    if (read_model(*m, p, w)) return m;
    free_model(m);
    return 0;
}

}  // namespace
