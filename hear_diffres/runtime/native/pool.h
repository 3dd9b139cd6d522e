/* Threads that share out the tasks of one call. Without C++'s library in the files compiled for other processors. */
#pragma once

enum { HD_MAX_THREADS = 64 };
typedef struct hd_pool hd_pool;
typedef void (*hd_task)(void* self, long task, int thread);

/* `threads` with the caller. Raises std::system_error where there are no more threads to be had. */
hd_pool* hd_pool_open(int threads);
void hd_pool_close(hd_pool* pool);

/* Tasks 0 ... tasks - 1, `thread` 0 being the caller; returns when all are done. A null pool runs them one by one. */
void hd_pool_run(hd_pool* pool, long tasks, hd_task run, void* self);
