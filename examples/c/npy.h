/*
 * Arrays from .npy files, as numpy.save writes them. An .npz file is a zip archive of such files: unzip it.
 */
#ifndef NPY_H
#define NPY_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NPY_AXES = 8 };

typedef struct npy {
    char type[8]; /* "<f4": float, "<i8": int64_t, … */
    int rank;
    int64_t shape[NPY_AXES];
    int64_t count; /* of elements */
    void *data;    /* to be freed by the caller */
} npy;

static inline const char *npy_header(const char *header, npy *array) {
    const char *at = strstr(header, "'descr': '");
    if (!at || sscanf(at + 10, "%7[^']", array->type) != 1) return "its header names no element type";
    if (strstr(header, "'fortran_order': True")) return "its first axis varies fastest; save a copy in the order of C";
    at = strstr(header, "'shape': (");
    if (!at) return "its header has no shape";
    array->count = 1;
    for (at += 10; *at != ')'; array->rank++) {
        char *end;
        long long size = strtoll(at, &end, 10);
        if (end == at || size < 0 || array->rank == NPY_AXES) return "its shape is malformed, or has too many axes";
        if (size > 0 && array->count > INT64_MAX / 8 / size) return "its shape is too large";
        array->shape[array->rank] = size;
        array->count *= size;
        for (at = end; *at == ',' || *at == ' '; at++) {}
    }
    return NULL;
}

/* Reads a file of elements of this type. Gives what is wrong with it, or null. */
static inline const char *npy_read(const char *path, const char *type, npy *array) {
    unsigned char begin[12];
    char header[4096];
    const char *wrong = NULL;
    size_t length = 0, width = (size_t)(type[2] - '0');
    memset(array, 0, sizeof *array);
    FILE *file = fopen(path, "rb");
    if (!file) return strerror(errno);
    if (fread(begin, 1, 10, file) != 10 || memcmp(begin, "\x93NUMPY", 6) != 0) {
        wrong = "it is no .npy file";
    } else if (begin[6] == 1) {
        length = begin[8] | (size_t)begin[9] << 8;
    } else if (fread(begin + 10, 1, 2, file) == 2) {
        length = begin[8] | (size_t)begin[9] << 8 | (size_t)begin[10] << 16 | (size_t)begin[11] << 24;
    }
    if (!wrong && (length == 0 || length >= sizeof header || fread(header, 1, length, file) != length)) wrong = "its header is cut off or too long";
    if (!wrong) {
        header[length] = 0;
        wrong = npy_header(header, array);
    }
    if (!wrong && strcmp(array->type, type) != 0) wrong = "it has elements of another type";
    if (!wrong) {
        array->data = malloc(array->count ? (size_t)array->count * width : 1);
        if (!array->data) {
            wrong = "there is no memory for it";
        } else if (fread(array->data, width, (size_t)array->count, file) != (size_t)array->count) {
            wrong = "it is cut off";
            free(array->data);
            array->data = NULL;
        }
    }
    fclose(file);
    return wrong;
}

#endif
