// pool.h: threads that wait for work awake for a moment before they sleep, since a call has some forty pieces of work of
// a few microseconds to a millisecond each, and waking a thread takes longer than many of them.
#include "pool.h"

#include <stdint.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace {

typedef std::chrono::steady_clock Clock;
const Clock::duration AWAKE = std::chrono::microseconds(100);

// Waits awake until `ready`, for a moment; gives way to others where there are more threads than cores.
template <typename Ready>
bool wait_awake(Ready ready) {
    const Clock::time_point end = Clock::now() + AWAKE;
    do {
        for (int i = 0; i < 32; i++) {
            if (ready()) return true;
#if defined(__x86_64__) || defined(__i386__)
            __builtin_ia32_pause();
#endif
        }
        std::this_thread::yield();
    } while (Clock::now() < end);
    return ready();
}

// One word says which round it is, whether threads may still join it, and how many have: whoever joins does so in one
// step, so the round's owner need not wait for those who come too late.
typedef uint64_t Word;
const Word JOINED = 0xffff, OPEN = 0x10000, ROUND = 0x20000;

}  // namespace

struct hd_pool {
    std::vector<std::thread> workers;
    std::atomic<Word> word{0};
    std::atomic<long> next{0};
    hd_task run = nullptr;
    void* self = nullptr;
    long tasks = 0;
    std::mutex mutex;
    std::condition_variable wake, done;
    std::atomic<int> asleep{0};
    std::atomic<bool> waiting{false}, over{false};

    explicit hd_pool(int threads) {
        try {
            for (int i = 1; i < threads; i++) workers.emplace_back([this, i] { work(i); });
        } catch (...) {
            end();
            throw;
        }
    }
    ~hd_pool() { end(); }

    void end() {
        over = true;
        {
            std::lock_guard<std::mutex> lock(mutex);
        }
        wake.notify_all();
        for (std::thread& worker : workers) worker.join();
    }

    void take(int thread) {
        for (long task; (task = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) run(self, task, thread);
    }

    // The owner of a round: opens it, works too, closes it, and waits for those who joined.
    void share(long n, hd_task body, void* its) {
        run = body, self = its, tasks = n, next.store(0, std::memory_order_relaxed);
        word.store((word.load(std::memory_order_relaxed) / ROUND + 1) * ROUND + OPEN);
        if (asleep.load() > 0) {
            {
                std::lock_guard<std::mutex> lock(mutex);
            }
            wake.notify_all();
        }
        take(0);
        word.fetch_and(~OPEN);
        auto alone = [&] { return (word.load() & JOINED) == 0; };
        if (wait_awake(alone)) return;
        std::unique_lock<std::mutex> lock(mutex);
        waiting = true;
        done.wait(lock, alone);
        waiting = false;
    }

    void work(int thread) {
#ifdef __SSE__
        __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | 0x8040);
#endif
        Word seen = 0;  // the last round that it joined or missed
        auto called = [&] { return over.load() || word.load() / ROUND != seen; };
        for (;;) {
            if (!wait_awake(called)) {
                std::unique_lock<std::mutex> lock(mutex);
                asleep++;
                wake.wait(lock, called);
                asleep--;
            }
            if (over) return;
            Word now = word.load();
            seen = now / ROUND;
            while (now & OPEN && now / ROUND == seen && !word.compare_exchange_weak(now, now + 1)) {
            }
            if (!(now & OPEN) || now / ROUND != seen) continue;
            take(thread);
            const Word left = word.fetch_sub(1) - 1;
            if ((left & (JOINED | OPEN)) == 0 && waiting.load()) {
                {
                    std::lock_guard<std::mutex> lock(mutex);
                }
                done.notify_one();
            }
        }
    }
};

hd_pool* hd_pool_open(int threads) { return new hd_pool(threads); }

void hd_pool_close(hd_pool* pool) { delete pool; }

void hd_pool_run(hd_pool* pool, long tasks, hd_task run, void* self) {
    if (pool && tasks > 1) {
        pool->share(tasks, run, self);
    } else {
        for (long task = 0; task < tasks; task++) run(self, task, 0);
    }
}
