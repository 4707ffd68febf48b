/*
 * Handwritten digits, read by a compiled model. From the root of the repository:
 *
 *     nnc train examples/digits.nn --out runs/digits
 *     nnc compile examples/digits.nn --weights runs/digits/weights.safetensors --batch N --prefix digits
 *     cc -O2 -I. examples/c/classify.c digits.a -lpthread -lm -o classify
 *     unzip examples/data/digits.npz x.npy
 *     ./classify x.npy
 *
 * The file holds images of 8 x 8 floats in 0 .. 16. For each a line tells the digit, and how likely the model holds it.
 *
 *     ./classify FILE.npy [THREADS [scores]]
 *
 * "scores": the ten scores of each image instead, to the last bit.
 */
#include <math.h>

#include "digits.h"
#include "npy.h"
#include "threads.h"

enum { PIXELS = 64, CLASSES = 10 };

static int fail(const char *what, const char *why) {
    fprintf(stderr, "classify: %s: %s\n", what, why);
    return 1;
}

static void tell(const float *scores) {
    int best = 0;
    for (int c = 1; c < CLASSES; c++) {
        if (scores[c] > scores[best]) best = c;
    }
    /* The softmax of the scores, of which the best is 1 over this sum. */
    double sum = 0;
    for (int c = 0; c < CLASSES; c++) sum += exp((double)scores[c] - (double)scores[best]);
    printf("%d  %.1f %%\n", best, 100 / sum);
}

int main(int argc, char **argv) {
    if (argc < 2) return fail("usage", "classify FILE.npy [THREADS [scores]]");
    npy images;
    const char *wrong = npy_read(argv[1], "<f4", &images);
    if (wrong) return fail(argv[1], wrong);
    if (images.rank < 1 || images.count != images.shape[0] * PIXELS) return fail(argv[1], "these are no images of 8 x 8");
    int64_t count = images.shape[0];

    pool lent;
    digits_threads threads = {pool_start(&lent, argc > 2 ? atoi(argv[2]) : 1), &lent, pool_run};

    digits_plan plan;
    int code = digits_bind(&plan, count);
    if (code != DIGITS_OK) return fail("bind", digits_message(code));
    size_t bytes = digits_workspace(&plan, threads.count);
    void *workspace = malloc(bytes);
    float *scores = malloc((size_t)(count > 0 ? count : 1) * CLASSES * sizeof(float));
    if (!workspace || !scores) return fail("memory", "there is not enough");
    code = digits_run(&plan, images.data, scores, workspace, bytes, &threads);
    if (code != DIGITS_OK) return fail("run", digits_message(code));

    for (int64_t i = 0; i < count; i++) {
        if (argc < 4) {
            tell(scores + i * CLASSES);
            continue;
        }
        for (int c = 0; c < CLASSES; c++) printf("%s%.9g", c ? " " : "", scores[i * CLASSES + c]);
        printf("\n");
    }
    pool_stop(&lent);
    free(scores);
    free(workspace);
    free(images.data);
    return 0;
}
