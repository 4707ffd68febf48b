/*
 * Weights of `@p@` from and to safetensors files, which `nnc` and others read and write too. Include this in one file of a
 * program that has the C library; @p@.h needs nothing of it.
 *
 *     void *weights[@P@_WEIGHTS];
 *     char message[1000];
 *     if (@p@_new_weights(weights) != 0) ...                      no memory
 *     if (@p@_load("@p@.safetensors", 0, weights, message, sizeof message) != 0) puts(message);
 *
 * Files are not trusted: one that is cut off, contradicts itself or does not fit the model changes no weight, and the message
 * tells all that is wrong with it, a line each. Floats of 16 and 64 bits are converted.
 */
#ifndef @P@_FILES_H
#define @P@_FILES_H

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "@p@.h"

/*
 * What a weight is. `of_optimizer`: the model itself has no use for it, but training goes on from it. `given`: the place of what
 * is saved in its place where those of the optimizer are not: of its average, if the training averages weights.
 */
typedef struct @p@_weight {
    const char *name;
    const char *dtype;
    int of_optimizer, given, rank;
    uint64_t shape[@rank@];
} @p@_weight;

static const @p@_weight @p@_all_weights[@P@_WEIGHTS] = {
@rows@};

/* Frees what @p@_new_weights has made; null pointers are passed over. */
static inline void @p@_free_weights(void *weights[@P@_WEIGHTS]) {
    for (int w = 0; w < @P@_WEIGHTS; w++) {
        free(weights[w]);
        weights[w] = NULL;
    }
}

/* Memory for all weights, zeros. Gives 0, or 1 where there is not so much. */
static inline int @p@_new_weights(void *weights[@P@_WEIGHTS]) {
    int missing = 0;
#define @P@_NEW_WEIGHT(place, name, count, bytes) \
    weights[place] = calloc((count) > 0 ? (size_t)(count) : 1, bytes); \
    if (!weights[place]) missing = 1;
    @P@_EACH_WEIGHT(@P@_NEW_WEIGHT)
#undef @P@_NEW_WEIGHT
    if (missing) @p@_free_weights(weights);
    return missing;
}

/* A text that others are appended to; what has no room is left out. */
typedef struct @p@_text {
    char *text;
    size_t room, used;
    int lines;
} @p@_text;

static inline void @p@_say(@p@_text *to, const char *format, ...) {
    va_list arguments;
    if (to->lines++ > 0 && to->used + 1 < to->room) to->text[to->used++] = '\n';
    va_start(arguments, format);
    if (to->used < to->room) {
        int wanted = vsnprintf(to->text + to->used, to->room - to->used, format, arguments);
        size_t left = to->room - to->used - 1;
        to->used += wanted < 0 ? 0 : (size_t)wanted < left ? (size_t)wanted : left;
    }
    va_end(arguments);
}

/* The element types of safetensors files. */
static inline size_t @p@_element(const char *dtype) {
    static const char *const names[] = {"F64", "I64", "U64", "F32", "I32", "U32", "F16", "BF16", "I16", "U16", "F8_E4M3", "F8_E5M2", "I8", "U8", "BOOL"};
    static const size_t bytes[] = {8, 8, 8, 4, 4, 4, 2, 2, 2, 2, 1, 1, 1, 1, 1};
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
        if (strcmp(names[i], dtype) == 0) return bytes[i];
    }
    return 0;
}

/* A tensor of a file; texts lie in the file's own memory. */
typedef struct @p@_tensor {
    const char *name, *dtype;
    uint64_t rank, shape[8], begin, end;
    int used;
} @p@_tensor;

/* The header of a file while it is read. Strings are decoded in place, which makes none of them longer. */
typedef struct @p@_json {
    char *at, *end;
    const char *wrong;
} @p@_json;

static inline int @p@_wrong(@p@_json *json, const char *what) {
    if (!json->wrong) json->wrong = what;
    return 0;
}

static inline int @p@_next(@p@_json *json, char wanted) {
    while (json->at < json->end && (*json->at == ' ' || *json->at == '\t' || *json->at == '\n' || *json->at == '\r')) json->at++;
    if (json->at < json->end && *json->at == wanted) {
        json->at++;
        return 1;
    }
    return 0;
}

static inline int @p@_need(@p@_json *json, char wanted) {
    return @p@_next(json, wanted) ? 1 : @p@_wrong(json, "it is no JSON of the form that such files have");
}

static inline int @p@_hex(@p@_json *json, uint32_t *value) {
    *value = 0;
    for (int i = 0; i < 4; i++, json->at++) {
        if (json->at >= json->end) return @p@_wrong(json, "a string does not end");
        char c = *json->at;
        uint32_t digit = c >= '0' && c <= '9' ? (uint32_t)(c - '0') : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10) : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10) : 16;
        if (digit > 15) return @p@_wrong(json, "a string has a wrong escape");
        *value = *value * 16 + digit;
    }
    return 1;
}

/* A string, decoded, with a zero behind it. */
static inline char *@p@_string(@p@_json *json) {
    if (!@p@_need(json, '"')) return NULL;
    char *text = json->at, *to = json->at;
    while (json->at < json->end && *json->at != '"') {
        unsigned char c = (unsigned char)*json->at++;
        if (c < 0x20) return @p@_wrong(json, "a string has a control character"), (char *)NULL;
        if (c != '\\') {
            *to++ = (char)c;
            continue;
        }
        if (json->at >= json->end) break;
        uint32_t code = (unsigned char)*json->at++;
        switch (code) {
        case '"': case '\\': case '/': break;
        case 'b': code = 8; break;
        case 'f': code = 12; break;
        case 'n': code = 10; break;
        case 'r': code = 13; break;
        case 't': code = 9; break;
        case 'u':
            if (!@p@_hex(json, &code)) return NULL;
            if (code >= 0xd800 && code < 0xdc00 && json->end - json->at >= 6 && json->at[0] == '\\' && json->at[1] == 'u') {
                uint32_t low;
                json->at += 2;
                if (!@p@_hex(json, &low)) return NULL;
                if (low < 0xdc00 || low > 0xdfff) return @p@_wrong(json, "a string has half a character"), (char *)NULL;
                code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            } else if (code >= 0xd800 && code <= 0xdfff) {
                return @p@_wrong(json, "a string has half a character"), (char *)NULL;
            }
            if (code == 0) return @p@_wrong(json, "a string has a zero in it"), (char *)NULL;
            break;
        default: return @p@_wrong(json, "a string has a wrong escape"), (char *)NULL;
        }
        if (code < 0x80) {
            *to++ = (char)code;
        } else if (code < 0x800) {
            *to++ = (char)(0xc0 | code >> 6);
            *to++ = (char)(0x80 | (code & 63));
        } else if (code < 0x10000) {
            *to++ = (char)(0xe0 | code >> 12);
            *to++ = (char)(0x80 | (code >> 6 & 63));
            *to++ = (char)(0x80 | (code & 63));
        } else {
            *to++ = (char)(0xf0 | code >> 18);
            *to++ = (char)(0x80 | (code >> 12 & 63));
            *to++ = (char)(0x80 | (code >> 6 & 63));
            *to++ = (char)(0x80 | (code & 63));
        }
    }
    if (json->at >= json->end) return @p@_wrong(json, "a string does not end"), (char *)NULL;
    json->at++;
    *to = 0;
    return text;
}

static inline int @p@_number(@p@_json *json, uint64_t *value) {
    char *first;
    *value = 0;
    @p@_next(json, ' ');
    for (first = json->at; json->at < json->end && *json->at >= '0' && *json->at <= '9'; json->at++) {
        uint64_t digit = (uint64_t)(*json->at - '0');
        if (*value > (UINT64_MAX - digit) / 10) return @p@_wrong(json, "a number is too large");
        *value = *value * 10 + digit;
    }
    if (json->at == first || (*first == '0' && json->at - first > 1)) return @p@_wrong(json, "a size or offset is no whole number");
    return 1;
}

/* {"dtype": …, "shape": […], "data_offsets": [begin, end]} */
static inline int @p@_info(@p@_json *json, @p@_tensor *tensor) {
    int have_shape = 0, have_offsets = 0;
    if (!@p@_need(json, '{')) return 0;
    do {
        char *key = @p@_string(json);
        if (!key || !@p@_need(json, ':')) return 0;
        if (strcmp(key, "dtype") == 0 && !tensor->dtype) {
            tensor->dtype = @p@_string(json);
            if (!tensor->dtype) return 0;
        } else if (strcmp(key, "shape") == 0 && !have_shape) {
            have_shape = 1;
            if (!@p@_need(json, '[')) return 0;
            if (@p@_next(json, ']')) continue;
            do {
                uint64_t size;
                if (!@p@_number(json, &size)) return 0;
                if (tensor->rank >= 8) return @p@_wrong(json, "a tensor has more than 8 axes");
                tensor->shape[tensor->rank++] = size;
            } while (@p@_next(json, ','));
            if (!@p@_need(json, ']')) return 0;
        } else if (strcmp(key, "data_offsets") == 0 && !have_offsets) {
            have_offsets = 1;
            if (!@p@_need(json, '[') || !@p@_number(json, &tensor->begin) || !@p@_need(json, ',') || !@p@_number(json, &tensor->end) || !@p@_need(json, ']')) return 0;
        } else {
            return @p@_wrong(json, "a tensor has something beside its dtype, shape and data_offsets, or has it twice");
        }
    } while (@p@_next(json, ','));
    if (!@p@_need(json, '}')) return 0;
    if (!tensor->dtype || !have_shape || !have_offsets) return @p@_wrong(json, "a tensor has no dtype, shape or data_offsets");
    return 1;
}

static inline int @p@_by_place(const void *a, const void *b) {
    const @p@_tensor *x = (const @p@_tensor *)a, *y = (const @p@_tensor *)b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static inline int @p@_by_name(const void *a, const void *b) {
    return strcmp(((const @p@_tensor *)a)->name, ((const @p@_tensor *)b)->name);
}

/* Whether a text is UTF-8: no byte is astray, nothing is longer than it need be, no halves of characters. */
static inline int @p@_is_utf8(const char *text, size_t bytes) {
    for (size_t i = 0; i < bytes;) {
        unsigned char first = (unsigned char)text[i++];
        int more = first < 0x80 ? 0 : first >= 0xc2 && first < 0xe0 ? 1 : first >= 0xe0 && first < 0xf0 ? 2 : first >= 0xf0 && first < 0xf5 ? 3 : -1;
        if (more < 0 || bytes - i < (size_t)more) return 0;
        unsigned char least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80, most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
        for (int k = 0; k < more; k++, i++, least = 0x80, most = 0xbf) {
            unsigned char next = (unsigned char)text[i];
            if (next < least || next > most) return 0;
        }
    }
    return 1;
}

/* The tensors of a header, ordered by name; the caller frees them. Null where anything is wrong with it. */
static inline @p@_tensor *@p@_tensors(char *header, size_t header_bytes, uint64_t data_bytes, size_t *count, @p@_text *log) {
    @p@_json json = {header, header + header_bytes, NULL};
    @p@_tensor *all = NULL;
    size_t room = 0;
    *count = 0;
    if (!@p@_is_utf8(header, header_bytes)) {
        @p@_wrong(&json, "it is no text");
    } else if (@p@_need(&json, '{') && !@p@_next(&json, '}')) {
        do {
            char *name = @p@_string(&json);
            if (!name || !@p@_need(&json, ':')) break;
            if (strcmp(name, "__metadata__") == 0) {
                if (!@p@_need(&json, '{') || @p@_next(&json, '}')) continue;
                while (@p@_string(&json) && @p@_need(&json, ':') && @p@_string(&json) && @p@_next(&json, ',')) {}
                @p@_need(&json, '}');
                continue;
            }
            if (*count == room) {
                room = room ? 2 * room : 64;
                @p@_tensor *more = room > SIZE_MAX / sizeof *all ? NULL : (@p@_tensor *)realloc(all, room * sizeof *all);
                if (!more) {
                    @p@_wrong(&json, "there is no memory for it");
                    break;
                }
                all = more;
            }
            memset(&all[*count], 0, sizeof *all);
            all[*count].name = name;
            if (!@p@_info(&json, &all[*count])) break;
            ++*count;
        } while (!json.wrong && @p@_next(&json, ','));
        if (!json.wrong) @p@_need(&json, '}');
    }
    while (!json.wrong && json.at < json.end && *json.at == ' ') json.at++;
    if (!json.wrong && json.at < json.end) @p@_wrong(&json, "something follows its end");
    if (json.wrong) {
        @p@_say(log, "the header is malformed: %s", json.wrong);
        free(all);
        return NULL;
    }
    if (!all) all = (@p@_tensor *)calloc(1, sizeof *all);
    if (!all) {
        @p@_say(log, "there is no memory for it");
        return NULL;
    }
    int before = log->lines;
    qsort(all, *count, sizeof *all, @p@_by_place);
    uint64_t end = 0;
    for (size_t i = 0; i < *count; i++) {
        uint64_t bytes = @p@_element(all[i].dtype);
        if (bytes == 0) @p@_say(log, "`%s` has elements of an unknown type, %s", all[i].name, all[i].dtype);
        for (uint64_t axis = 0; axis < all[i].rank; axis++) {
            uint64_t size = all[i].shape[axis];
            if (size != 0 && bytes > UINT64_MAX / size) {
                @p@_say(log, "the shape of `%s` is too large", all[i].name);
                bytes = 0;
                break;
            }
            bytes *= size;
        }
        if (all[i].end < all[i].begin || all[i].end - all[i].begin != bytes) {
            @p@_say(log, "the data of `%s` do not fit its shape", all[i].name);
        } else if (all[i].begin != end) {
            @p@_say(log, "the data of `%s` overlap others or leave a gap", all[i].name);
        }
        end = all[i].end;
        if (log->lines > before) break;
    }
    if (log->lines == before && end != data_bytes) @p@_say(log, "the tensors do not end where the file does; it may be cut off");
    qsort(all, *count, sizeof *all, @p@_by_name);
    for (size_t i = 1; log->lines == before && i < *count; i++) {
        if (strcmp(all[i - 1].name, all[i].name) == 0) @p@_say(log, "the name `%s` occurs twice", all[i].name);
    }
    if (log->lines > before) {
        free(all);
        return NULL;
    }
    return all;
}

/* The name of a member of a weight: each * is an index. */
static inline void @p@_member(const @p@_weight *weight, uint64_t member, char *name, size_t room) {
    uint64_t at[8];
    int stars = 0, star = 0;
    size_t used = 0;
    for (const char *c = weight->name; *c; c++) stars += *c == '*' && stars < weight->rank;
    for (int i = stars; i-- > 0; member /= weight->shape[i]) at[i] = member % weight->shape[i];
    for (const char *c = weight->name; *c && used + 1 < room; c++) {
        if (*c == '*' && star < stars) {
            int wrote = snprintf(name + used, room - used, "%llu", (unsigned long long)at[star++]);
            used += wrote < 0 ? 0 : (size_t)wrote;
            if (used >= room) used = room - 1;
        } else {
            name[used++] = *c;
        }
    }
    name[used] = 0;
}

/* Leading axes of a weight that are members of stacks, their number, and the elements of each. */
static inline int @p@_split(const @p@_weight *weight, uint64_t *members, uint64_t *elements) {
    int stars = 0;
    for (const char *c = weight->name; *c; c++) stars += *c == '*' && stars < weight->rank;
    *members = *elements = 1;
    for (int axis = 0; axis < weight->rank; axis++) *(axis < stars ? members : elements) *= weight->shape[axis];
    return stars;
}

static inline void @p@_shape(const uint64_t *shape, uint64_t rank, char *text, size_t room) {
    size_t used = 0;
    text[0] = 0;
    for (uint64_t axis = 0; axis < rank && used + 24 < room; axis++) {
        used += (size_t)snprintf(text + used, room - used, "%s%llu", axis ? ", " : "", (unsigned long long)shape[axis]);
    }
}

/* How many letters must change to make one name of the other. */
static inline size_t @p@_distance(const char *a, const char *b) {
    size_t row[128], n = strlen(b);
    if (n >= 127 || strlen(a) >= 127) return 127;
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t changed = corner + (a[i - 1] != b[j - 1]), least = row[j] < row[j - 1] ? row[j] : row[j - 1];
            corner = row[j];
            row[j] = changed < least + 1 ? changed : least + 1;
        }
    }
    return row[n];
}

/* The nearest number, ties to even, of 16 bits: one for the sign, some for the fraction, the rest for the exponent; NaN becomes infinite. */
static inline uint16_t @p@_half(double value, int fraction, int bias) {
    uint64_t bits;
    memcpy(&bits, &value, 8);
    uint64_t sign = bits >> 63 << 15, rest = bits & 0xfffffffffffff, infinite = (2 * (uint64_t)bias + 1) << fraction;
    int power = (int)(bits >> 52 & 0x7ff) - 1023 + bias, shift = 52 - fraction;
    if (power > 2 * bias) return (uint16_t)(sign | infinite);
    if (power <= 0) {
        shift += 1 - power;
        power = 1;
    }
    if (shift > 53) return (uint16_t)sign;
    rest |= (uint64_t)1 << 52;
    uint64_t near = rest >> shift, cut = rest - (near << shift), tie = (uint64_t)1 << (shift - 1);
    if (cut > tie || (cut == tie && near % 2 == 1)) near++;
    near += (uint64_t)(power - 1) << fraction;
    return (uint16_t)(sign | (near < infinite ? near : infinite));
}

/* Numbers of a file as elements of a weight. Gives whether all are finite; with `to` null nothing is written. */
static inline int @p@_convert(const unsigned char *from, const char *dtype, const char *wanted, uint64_t count, unsigned char *to) {
    if (dtype[0] != 'F' && dtype[0] != 'B') {
        if (to) memcpy(to, from, (size_t)count * @p@_element(dtype));
        return 1;
    }
    if (strcmp(dtype, "BOOL") == 0) {
        if (to) memcpy(to, from, (size_t)count);
        return 1;
    }
    for (uint64_t i = 0; i < count; i++) {
        double value;
        if (strcmp(dtype, "F64") == 0) {
            memcpy(&value, from + 8 * i, 8);
        } else if (strcmp(dtype, "F32") == 0) {
            float x;
            memcpy(&x, from + 4 * i, 4);
            value = x;
        } else {
            uint16_t half;
            memcpy(&half, from + 2 * i, 2);
            uint32_t bits = (uint32_t)half << 16;
            if (strcmp(dtype, "F16") == 0) {
                uint32_t sign = (uint32_t)(half & 0x8000) << 16, power = half >> 10 & 31, rest = half & 0x3ff;
                if (power == 31) {
                    bits = sign | 0x7f800000 | rest << 13;
                } else if (power > 0) {
                    bits = sign | (power + 112) << 23 | rest << 13;
                } else {
                    float x = (float)rest / 16777216.0f;
                    memcpy(&bits, &x, 4);
                    bits |= sign;
                }
            }
            float x;
            memcpy(&x, &bits, 4);
            value = x;
        }
        float narrow = (float)value;
        uint64_t bits = 0;
        if (@p@_element(wanted) == 2) {
            int wide = strcmp(wanted, "F16") == 0;
            uint16_t half = wide ? @p@_half(value, 10, 15) : @p@_half(value, 7, 127);
            if ((half & 0x7fff) >= (wide ? 0x7c00 : 0x7f80)) return 0;
            if (to) memcpy(to + 2 * i, &half, 2);
        } else if (strcmp(wanted, "F64") == 0) {
            memcpy(&bits, &value, 8);
            if ((bits >> 52 & 0x7ff) == 0x7ff) return 0;
            if (to) memcpy(to + 8 * i, &value, 8);
        } else {
            memcpy(&bits, &narrow, 4);
            uint32_t low;
            memcpy(&low, &narrow, 4);
            if ((low >> 23 & 0xff) == 0xff) return 0;
            if (to) memcpy(to + 4 * i, &narrow, 4);
        }
    }
    return 1;
}

/* Whether a file's elements can be a weight's. */
static inline int @p@_converts(const char *have, const char *wanted) {
    int floats = 1;
    for (int i = 0; i < 2; i++) {
        const char *dtype = i ? have : wanted;
        floats &= strcmp(dtype, "F64") == 0 || strcmp(dtype, "F32") == 0 || strcmp(dtype, "F16") == 0 || strcmp(dtype, "BF16") == 0;
    }
    return floats || strcmp(have, wanted) == 0;
}

/* What is done with weights and the tensors of their names: these are marked, all that does not fit is told, or they are copied. */
enum { @P@_MARK, @P@_TELL, @P@_COPY };

static inline void @p@_take(@p@_tensor *tensors, size_t count, const unsigned char *data, int all, int what, void *const weights[], @p@_text *log) {
    for (int w = 0; w < @P@_WEIGHTS; w++) {
        const @p@_weight *weight = &@p@_all_weights[w];
        uint64_t members, elements;
        char name[512], shape[256], own[256];
        int stars = @p@_split(weight, &members, &elements);
        if (weight->of_optimizer && !all) continue;
        @p@_shape(weight->shape + stars, (uint64_t)(weight->rank - stars), own, sizeof own);
        for (uint64_t member = 0; member < members; member++) {
            @p@_member(weight, member, name, sizeof name);
            @p@_tensor key, *found;
            memset(&key, 0, sizeof key);
            key.name = name;
            found = (@p@_tensor *)bsearch(&key, tensors, count, sizeof key, @p@_by_name);
            if (what == @P@_MARK) {
                if (found) found->used = 1;
                continue;
            }
            if (!found) {
                if (what == @P@_COPY) continue;
                size_t least = (strlen(name) + 5) / 3;
                @p@_tensor *near = NULL;
                for (size_t i = 0; i < count; i++) {
                    if (tensors[i].used) continue;
                    size_t distance = @p@_distance(name, tensors[i].name);
                    if (distance < least) {
                        least = distance;
                        near = &tensors[i];
                    }
                }
                if (near) {
                    @p@_say(log, "no `%s` [%s]; did it mean `%s`?", name, own, near->name);
                    near->used = 1;
                } else {
                    @p@_say(log, "no `%s` [%s]", name, own);
                }
                continue;
            }
            const unsigned char *from = data + found->begin;
            if (what == @P@_COPY) {
                unsigned char *to = (unsigned char *)weights[w] + member * elements * @p@_element(weight->dtype);
                @p@_convert(from, found->dtype, weight->dtype, elements, to);
                continue;
            }
            @p@_shape(found->shape, found->rank, shape, sizeof shape);
            if (found->rank != (uint64_t)(weight->rank - stars) || (found->rank && memcmp(found->shape, weight->shape + stars, found->rank * sizeof *found->shape) != 0)) {
                @p@_say(log, "`%s` has shape [%s] in the file, [%s] in the model", name, shape, own);
            } else if (!@p@_converts(found->dtype, weight->dtype)) {
                @p@_say(log, "`%s` has elements of %s in the file, of %s in the model", name, found->dtype, weight->dtype);
            } else if (!@p@_convert(from, found->dtype, weight->dtype, elements, NULL)) {
                @p@_say(log, "`%s` has entries that are no finite numbers", name);
            }
        }
    }
    for (size_t i = 0; what == @P@_TELL && i < count; i++) {
        if (!tensors[i].used) @p@_say(log, "the file has `%s`, the model has not", tensors[i].name);
    }
}

/*
 * Reads the weights of a file into their arrays; with `all` also those of the optimizer. Gives 0; or 1, then no array has changed
 * and the message says why.
 */
static inline int @p@_load(const char *path, int all, void *const weights[], char *message, size_t message_bytes) {
    @p@_text log = {message, message_bytes, 0, 0};
    for (int w = 0; w < @P@_WEIGHTS; w++) {
        if (!weights[w]) return @p@_say(&log, "the pointer to `%s` is null", @p@_all_weights[w].name), 1;
    }
    unsigned char *bytes = NULL;
    @p@_tensor *tensors = NULL;
    size_t count = 0;
    long end = -1;
    if (message_bytes) message[0] = 0;
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0 || (end = ftell(file)) < 0 || fseek(file, 0, SEEK_SET) != 0) {
        @p@_say(&log, "%s: %s", path, strerror(errno));
    } else if (end < 8) {
        @p@_say(&log, "%s is no safetensors file: it has %ld bytes", path, end);
    } else if (!(bytes = (unsigned char *)malloc((size_t)end + 1)) || fread(bytes, 1, (size_t)end, file) != (size_t)end) {
        @p@_say(&log, "%s: %s", path, bytes ? "it cannot be read" : "there is no memory for it");
    } else {
        uint64_t header = 0;
        for (int i = 8; i-- > 0;) header = header << 8 | bytes[i];
        if (header > (uint64_t)end - 8) {
            @p@_say(&log, "%s is no safetensors file, or it is cut off: its header would have %llu bytes", path, (unsigned long long)header);
        } else {
            const unsigned char *data = bytes + 8 + header;
            tensors = @p@_tensors((char *)bytes + 8, (size_t)header, (uint64_t)end - 8 - header, &count, &log);
            for (int what = @P@_MARK; tensors && log.lines == 0 && what <= @P@_COPY; what++) @p@_take(tensors, count, data, all, what, weights, &log);
        }
    }
    if (file) fclose(file);
    free(tensors);
    free(bytes);
    return log.lines > 0;
}

/* Writes the header (`to` null: counts its bytes) or the data of all weights in the order of the file: large elements first. */
static inline uint64_t @p@_write(FILE *to, int all, int header, void *const weights[]) {
    uint64_t length = 0, offset = 0;
    char name[512], shape[256], entry[1024];
    for (size_t size = 8; size > 0; size /= 2) {
        for (int w = 0; w < @P@_WEIGHTS; w++) {
            const @p@_weight *weight = &@p@_all_weights[w];
            uint64_t members, elements;
            int stars = @p@_split(weight, &members, &elements);
            if (@p@_element(weight->dtype) != size || (weight->of_optimizer && !all)) continue;
            if (!header) {
                if (members * elements > 0) fwrite(weights[all ? w : weight->given], size, (size_t)(members * elements), to);
                continue;
            }
            @p@_shape(weight->shape + stars, (uint64_t)(weight->rank - stars), shape, sizeof shape);
            for (uint64_t member = 0; member < members; member++) {
                uint64_t begin = offset;
                offset += elements * size;
                @p@_member(weight, member, name, sizeof name);
                int wrote = snprintf(entry, sizeof entry, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%llu,%llu]}", length ? "," : "{",
                                     name, weight->dtype, shape, (unsigned long long)begin, (unsigned long long)offset);
                if (wrote > 0) length += (uint64_t)wrote;
                if (to) fputs(entry, to);
            }
        }
    }
    if (header && length == 0) {
        if (to) fputs("{", to);
        length = 1;
    }
    if (header && to) fputs("}", to);
    return length + 1;
}

/*
 * Writes the weights to a file: with `all` those of the optimizer too, without it averages where the training has them. The file that was there is replaced when the new one is
 * whole. Gives 0, or 1 with a message.
 */
static inline int @p@_save(const char *path, int all, void *const weights[], char *message, size_t message_bytes) {
    @p@_text log = {message, message_bytes, 0, 0};
    size_t length = strlen(path);
    char *part = (char *)malloc(length + 6);
    if (message_bytes) message[0] = 0;
    if (!part) {
        @p@_say(&log, "there is no memory for a name");
        return 1;
    }
    memcpy(part, path, length);
    memcpy(part + length, ".part", 6);
    FILE *file = fopen(part, "wb");
    if (file) {
        uint64_t header = @p@_write(NULL, all, 1, weights), padded = (header + 7) / 8 * 8;
        for (int i = 0; i < 8; i++) fputc((int)(padded >> 8 * i & 255), file);
        @p@_write(file, all, 1, weights);
        for (; header < padded; header++) fputc(' ', file);
        @p@_write(file, all, 0, weights);
        int failed = ferror(file);
        if (fclose(file) != 0 || failed || rename(part, path) != 0) {
            @p@_say(&log, "%s: %s", path, strerror(errno));
            remove(part);
        }
    } else {
        @p@_say(&log, "%s: %s", part, strerror(errno));
    }
    free(part);
    return log.lines > 0;
}

#endif
