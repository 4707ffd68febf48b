/*
 * Threads that a program lends to a compiled model, on POSIX systems: parallel_for as the model's header wants it. They are kept
 * between calls, for a run asks for them many times.
 *
 *     pool lent;
 *     digits_threads threads = {pool_start(&lent, 4), &lent, pool_run};
 *     …
 *     pool_stop(&lent);
 */
#ifndef THREADS_H
#define THREADS_H

#include <pthread.h>
#include <stdint.h>

enum { POOL_MOST = 64 };

typedef struct pool pool;

typedef struct pool_thread {
    pool *of;
    int64_t number;
    pthread_t handle;
} pool_thread;

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    pool_thread threads[POOL_MOST];
    int64_t count;
    /* The call under way: its number, what is to be done, the next task, and the threads that are still at it. */
    uint64_t call;
    void (*task)(void *state, int64_t i, int64_t t);
    void *state;
    int64_t tasks, next, busy;
    int over;
};

/* Takes tasks until there are none; begins and ends with the lock held. */
static inline void pool_take(pool *p, int64_t number) {
    while (p->next < p->tasks) {
        int64_t i = p->next++;
        pthread_mutex_unlock(&p->lock);
        p->task(p->state, i, number);
        pthread_mutex_lock(&p->lock);
    }
}

static inline void *pool_thread_main(void *argument) {
    pool_thread *self = (pool_thread *)argument;
    pool *p = self->of;
    uint64_t seen = 0;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (p->call == seen && !p->over) pthread_cond_wait(&p->work, &p->lock);
        if (p->over) break;
        seen = p->call;
        pool_take(p, self->number);
        if (--p->busy == 0) pthread_cond_signal(&p->done);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Starts threads, the calling one counted; gives how many there are: fewer than were wanted where the system gives no more. */
static inline int64_t pool_start(pool *p, int64_t wanted) {
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->done, NULL);
    p->call = 0;
    p->over = 0;
    p->tasks = p->next = p->busy = 0;
    for (p->count = 1; p->count < wanted && p->count < POOL_MOST; p->count++) {
        pool_thread *thread = &p->threads[p->count];
        thread->of = p;
        thread->number = p->count;
        if (pthread_create(&thread->handle, NULL, pool_thread_main, thread) != 0) break;
    }
    return p->count;
}

/* The model's parallel_for; `context` is the pool. */
static inline void pool_run(void *context, int64_t tasks, void (*task)(void *state, int64_t i, int64_t t), void *state) {
    pool *p = (pool *)context;
    pthread_mutex_lock(&p->lock);
    p->task = task;
    p->state = state;
    p->tasks = tasks;
    p->next = 0;
    p->busy = p->count - 1;
    p->call++;
    pthread_cond_broadcast(&p->work);
    pool_take(p, 0);
    while (p->busy > 0) pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

static inline void pool_stop(pool *p) {
    pthread_mutex_lock(&p->lock);
    p->over = 1;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (int64_t t = 1; t < p->count; t++) pthread_join(p->threads[t].handle, NULL);
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
}

#endif
