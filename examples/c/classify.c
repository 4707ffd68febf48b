/*
 * Handwritten digits, classified by a compiled model. From the root of the repository:
 *
 *     nnc train examples/digits.nn --out runs/digits
 *     nnc compile examples/digits.nn --weights runs/digits/weights.safetensors --batch N -o digits.a --prefix digits
 *     cc -O2 -I. examples/c/classify.c digits.a -lpthread -o classify
 *     ./classify images.f32 2
 *
 * The file holds images of 8 x 8 floats in 0 .. 16, one behind the other; a line with the ten scores is printed for each.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "digits.h"

enum { PIXELS = 64, CLASSES = 10, MOST_THREADS = 64 };

/* The tasks of one call, which all threads take from. */
typedef struct work {
    void (*task)(void *state, int64_t i, int64_t t);
    void *state;
    int64_t tasks;
    atomic_llong next;
} work;

typedef struct worker {
    work *work;
    int64_t number;
} worker;

static void *take_tasks(void *argument) {
    worker *self = argument;
    work *w = self->work;
    for (;;) {
        int64_t i = atomic_fetch_add(&w->next, 1);
        if (i >= w->tasks) return NULL;
        w->task(w->state, i, self->number);
    }
}

/* A real program would keep its threads; these are started for each call. A thread that cannot be started is not missed. */
static void parallel_for(void *context, int64_t tasks, void (*task)(void *, int64_t, int64_t), void *state) {
    int64_t threads = *(int64_t *)context, started = 0;
    work w = {task, state, tasks, 0};
    worker workers[MOST_THREADS];
    pthread_t handles[MOST_THREADS];
    for (int64_t t = 0; t < threads; t++) workers[t] = (worker){&w, t};
    for (int64_t t = 1; t < threads; t++) {
        if (pthread_create(&handles[started], NULL, take_tasks, &workers[t]) == 0) started++;
    }
    take_tasks(&workers[0]);
    for (int64_t t = 0; t < started; t++) pthread_join(handles[t], NULL);
}

static void fail(const char *what, const char *why) {
    fprintf(stderr, "classify: %s: %s\n", what, why);
    exit(1);
}

static void *memory(size_t bytes) {
    void *block = malloc(bytes > 0 ? bytes : 1);
    if (!block) fail("memory", strerror(ENOMEM));
    return block;
}

int main(int argc, char **argv) {
    if (argc < 2) fail("usage", "classify IMAGES [THREADS]");
    int64_t threads = argc > 2 ? atoi(argv[2]) : 1;
    if (threads < 1 || threads > MOST_THREADS) fail("threads", "1 to 64");

    FILE *file = fopen(argv[1], "rb");
    if (!file) fail(argv[1], strerror(errno));
    if (fseek(file, 0, SEEK_END) != 0) fail(argv[1], strerror(errno));
    long size = ftell(file);
    if (size < 0) fail(argv[1], strerror(errno));
    rewind(file);
    int64_t count = size / (long)(PIXELS * sizeof(float));
    float *images = memory((size_t)count * PIXELS * sizeof(float));
    if (fread(images, PIXELS * sizeof(float), (size_t)count, file) != (size_t)count) fail(argv[1], "cannot be read");
    fclose(file);

    digits_plan plan;
    int code = digits_bind(&plan, count);
    if (code) fail("bind", digits_message(code));
    size_t bytes = digits_workspace(&plan, threads);
    void *workspace = memory(bytes);
    float *scores = memory((size_t)count * CLASSES * sizeof(float));
    digits_threads lent = {threads, &threads, parallel_for};
    code = digits_run(&plan, images, scores, workspace, bytes, &lent);
    if (code) fail("run", digits_message(code));

    for (int64_t i = 0; i < count; i++) {
        for (int c = 0; c < CLASSES; c++) printf("%s%.9g", c ? " " : "", scores[i * CLASSES + c]);
        printf("\n");
    }
    free(scores);
    free(workspace);
    free(images);
    return 0;
}
