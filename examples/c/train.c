/*
 * Handwritten digits, learned by a program that has no compiler in it. From the root of the repository:
 *
 *     nnc compile examples/digits.nn --train --prefix digits
 *     cc -O2 -I. examples/c/train.c digits.a -lpthread -o train
 *     unzip examples/data/digits.npz
 *     ./train x.npy y.npy 10 2
 *     nnc eval examples/digits.nn --weights digits.safetensors
 *
 * What it writes, digits.safetensors, is a file of weights like those of `nnc train`.
 *
 *     ./train IMAGES.npy LABELS.npy [EPOCHS [THREADS]]
 */
#include "digits.h"
#include "digits_files.h"
#include "npy.h"
#include "threads.h"

enum { PIXELS = 64, BATCH = 64, SEED = 1 };

static int fail(const char *what, const char *why) {
    fprintf(stderr, "train: %s: %s\n", what, why);
    return 1;
}

/* The samples in a new order (Fisher and Yates), by a generator of its own so that every run is the same. */
static void shuffle(int64_t *order, int64_t count, uint64_t *state) {
    for (int64_t i = count - 1; i > 0; i--) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        int64_t j = (int64_t)((*state >> 33) % (uint64_t)(i + 1)), own = order[i];
        order[i] = order[j];
        order[j] = own;
    }
}

int main(int argc, char **argv) {
    if (argc < 3) return fail("usage", "train IMAGES.npy LABELS.npy [EPOCHS [THREADS]]");
    npy images, labels;
    const char *wrong = npy_read(argv[1], "<f4", &images);
    if (wrong) return fail(argv[1], wrong);
    wrong = npy_read(argv[2], "<i8", &labels);
    if (wrong) return fail(argv[2], wrong);
    int64_t count = labels.count, epochs = argc > 3 ? atoi(argv[3]) : 10;
    if (count == 0 || images.count != count * PIXELS) return fail(argv[1], "it has not one image of 8 x 8 for each label");

    pool lent;
    digits_threads threads = {pool_start(&lent, argc > 4 ? atoi(argv[4]) : 1), &lent, pool_run};

    /* Every fifth digit is held out, as in the program. */
    int64_t held = (count + 4) / 5, learned = count - held;

    /* Four plans: one draws the weights, two are for steps, on a whole batch and on what is left of an epoch, one measures. */
    digits_init_plan init;
    digits_step_plan whole, rest;
    digits_evaluate_plan evaluate;
    int code = digits_init_bind(&init);
    if (code != DIGITS_OK) return fail("bind", digits_init_message(code));
    code = digits_step_bind(&whole, BATCH);
    if (code == DIGITS_OK) code = digits_step_bind(&rest, learned % BATCH);
    if (code != DIGITS_OK) return fail("bind", digits_step_message(code));
    code = digits_evaluate_bind(&evaluate, held);
    if (code != DIGITS_OK) return fail("bind", digits_evaluate_message(code));
    size_t bytes = digits_init_workspace(&init, threads.count);
    size_t others[] = {digits_step_workspace(&whole, threads.count), digits_evaluate_workspace(&evaluate, threads.count)};
    for (int i = 0; i < 2; i++) bytes = others[i] > bytes ? others[i] : bytes;
    void *workspace = malloc(bytes), *weights[DIGITS_WEIGHTS];
    int64_t *order = malloc((size_t)count * sizeof *order);
    if (!workspace || !order || digits_new_weights(weights)) return fail("memory", "there is not enough");

    code = digits_init_run(&init, weights, SEED, workspace, bytes, &threads);
    if (code != DIGITS_OK) return fail("init", digits_init_message(code));

    static float x[BATCH * PIXELS];
    static int64_t y[BATCH];
    float *held_x = malloc((size_t)held * PIXELS * sizeof *held_x);
    int64_t *held_y = malloc((size_t)held * sizeof *held_y);
    if (!held_x || !held_y) return fail("memory", "there is not enough");
    for (int64_t i = 0; i < held; i++) {
        memcpy(held_x + i * PIXELS, (const float *)images.data + 5 * i * PIXELS, PIXELS * sizeof *held_x);
        held_y[i] = ((const int64_t *)labels.data)[5 * i];
    }
    int64_t step = 0, steps = epochs * ((learned + BATCH - 1) / BATCH);
    uint64_t state = SEED;
    for (int64_t i = 0; i < learned; i++) order[i] = i + i / 4 + 1;
    for (int64_t epoch = 0; epoch < epochs; epoch++) {
        double sum = 0;
        shuffle(order, learned, &state);
        for (int64_t first = 0; first < learned; first += BATCH) {
            int64_t size = learned - first < BATCH ? learned - first : BATCH;
            for (int64_t i = 0; i < size; i++) {
                memcpy(x + i * PIXELS, (const float *)images.data + order[first + i] * PIXELS, PIXELS * sizeof *x);
                y[i] = ((const int64_t *)labels.data)[order[first + i]];
            }
            float loss;
            code = digits_step_run(size == BATCH ? &whole : &rest, x, y, &loss, weights, step++, steps, workspace, bytes, &threads);
            if (code != DIGITS_OK) return fail("step", digits_step_message(code));
            sum += (double)loss * (double)size;
        }
        float loss, right;
        code = digits_evaluate_run(&evaluate, held_x, held_y, &loss, &right, weights, workspace, bytes, &threads);
        if (code != DIGITS_OK) return fail("evaluate", digits_evaluate_message(code));
        printf("epoch %lld: loss %.4f, held out %.4f, right %.1f %%\n", (long long)epoch + 1, sum / (double)learned,
               (double)loss / (double)held, 100 * (double)right / (double)held);
    }

    char message[500];
    if (digits_save("digits.safetensors", 0, weights, message, sizeof message)) return fail("save", message);
    pool_stop(&lent);
    digits_free_weights(weights);
    free(order);
    free(held_x);
    free(held_y);
    free(workspace);
    free(labels.data);
    free(images.data);
    return 0;
}
