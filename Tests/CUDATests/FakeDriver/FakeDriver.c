// SPDX-License-Identifier: MIT
//
// A CUDA driver without a GPU: writes every call with its arguments into a log, answers with codes that a test asked
// for, and keeps the memory of its one device in the host's. Signatures and layouts are cuda.h's.

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char text[1 << 20];
static size_t length;
static char failing[64];
static int failing_code;
static int parameter_sizes[64];
static int parameter_count;
static int device_count = 1;
static int queries_until_ready;
static int next_handle = 0x100;

const char *fake_log(void) { return text; }
void fake_clear(void) { length = 0, text[0] = 0; }
void fake_fail(const char *call, int code) { snprintf(failing, sizeof failing, "%s", call), failing_code = code; }
void fake_parameters(const int *sizes, int count) {
    memcpy(parameter_sizes, sizes, sizeof(int) * (size_t)count), parameter_count = count;
}
void fake_devices(int count) { device_count = count; }
void fake_busy(int queries) { queries_until_ready = queries; }

static void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int written = vsnprintf(text + length, sizeof text - length, format, arguments);
    va_end(arguments);
    if (written > 0 && length + (size_t)written < sizeof text) length += (size_t)written;
}

// The scripted code of a call, once.
static int code(const char *call) {
    if (strcmp(call, failing) != 0) return 0;
    failing[0] = 0;
    return failing_code;
}

static void *handle(void) { return (void *)(intptr_t)next_handle++; }

#define CALL(name, ...) say(#name __VA_ARGS__); say("\n"); { int c = code(#name); if (c) return c; }

int cuInit(unsigned flags) { CALL(cuInit, "(%u)", flags) return 0; }
int cuDriverGetVersion(int *version) { CALL(cuDriverGetVersion, "()") *version = 12090; return 0; }
int cuGetErrorName(int c, const char **name) {
    *name = c == 1     ? "CUDA_ERROR_INVALID_VALUE"
            : c == 2   ? "CUDA_ERROR_OUT_OF_MEMORY"
            : c == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS"
                       : 0;
    return *name ? 0 : 1;
}
int cuGetErrorString(int c, const char **name) {
    *name = c == 1     ? "invalid argument"
            : c == 2   ? "out of memory"
            : c == 700 ? "an illegal memory access was encountered"
                       : 0;
    return *name ? 0 : 1;
}

int cuDeviceGetCount(int *count) {
    CALL(cuDeviceGetCount, "()")
    *count = device_count; return device_count ? 0 : 100;
}
int cuDeviceGetName(char *name, int size, int device) {
    CALL(cuDeviceGetName, "(%d)", device)
    snprintf(name, (size_t)size, "Fake H200"); return 0;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    CALL(cuDeviceTotalMem_v2, "(%d)", device)
    *bytes = (size_t)141 << 30; return 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    static const int table[][2] = {
        {1, 1024}, {13, 1980000}, {16, 132}, {36, 3201000}, {37, 6144}, {38, 60 << 20}, {39, 2048}, {75, 9}, {76, 0},
        {81, 233472}, {82, 65536}, {95, 1}, {97, 232448}, {108, 41 << 20}, {111, 1024}, {120, 1}, {127, 1},
    };
    (void)device;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i][0] == attribute) return *value = table[i][1], 0;
    return 1;
}

int cuDevicePrimaryCtxRetain(void **context, int device) {
    CALL(cuDevicePrimaryCtxRetain, "(%d)", device)
    *context = handle(); return 0;
}
int cuDevicePrimaryCtxRelease_v2(int device) { CALL(cuDevicePrimaryCtxRelease_v2, "(%d)", device) return 0; }
int cuCtxSetCurrent(void *context) { (void)context; return code("cuCtxSetCurrent"); }

int cuMemAlloc_v2(uint64_t *address, size_t bytes) {
    CALL(cuMemAlloc_v2, "(%zu)", bytes)
    return posix_memalign((void **)address, 256, bytes) ? 2 : 0;
}
int cuMemFree_v2(uint64_t address) { CALL(cuMemFree_v2, "()") free((void *)address); return 0; }
int cuMemGetInfo_v2(size_t *available, size_t *total) {
    CALL(cuMemGetInfo_v2, "()")
    *available = 1 << 30, *total = 2u << 30; return 0;
}
int cuMemHostAlloc(void **address, size_t bytes, unsigned flags) {
    CALL(cuMemHostAlloc, "(%zu, %u)", bytes, flags)
    return (*address = malloc(bytes)) ? 0 : 2;
}
int cuMemFreeHost(void *address) { CALL(cuMemFreeHost, "()") free(address); return 0; }
int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t bytes) {
    CALL(cuMemcpyHtoD_v2, "(%zu)", bytes)
    memcpy((void *)to, from, bytes); return 0;
}
int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t bytes) {
    CALL(cuMemcpyDtoH_v2, "(%zu)", bytes)
    memcpy(to, (void *)from, bytes); return 0;
}
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *stream) {
    CALL(cuMemcpyHtoDAsync_v2, "(%zu, %p)", bytes, stream)
    memcpy((void *)to, from, bytes); return 0;
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *stream) {
    CALL(cuMemcpyDtoHAsync_v2, "(%zu, %p)", bytes, stream)
    memcpy(to, (void *)from, bytes); return 0;
}
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void *stream) {
    CALL(cuMemcpyDtoDAsync_v2, "(%zu, %p)", bytes, stream)
    memcpy((void *)to, (void *)from, bytes); return 0;
}
int cuMemsetD8Async(uint64_t to, unsigned char value, size_t count, void *stream) {
    CALL(cuMemsetD8Async, "(%u, %zu, %p)", value, count, stream)
    memset((void *)to, value, count); return 0;
}
int cuMemsetD32Async(uint64_t to, unsigned value, size_t count, void *stream) {
    CALL(cuMemsetD32Async, "(%u, %zu, %p)", value, count, stream)
    for (size_t i = 0; i < count; i++) ((unsigned *)to)[i] = value;
    return 0;
}

int cuStreamCreate(void **stream, unsigned flags) {
    CALL(cuStreamCreate, "(%u)", flags)
    *stream = handle(); return 0;
}
int cuStreamDestroy_v2(void *stream) { CALL(cuStreamDestroy_v2, "(%p)", stream) return 0; }
int cuStreamQuery(void *stream) {
    (void)stream; int c = code("cuStreamQuery"); return c ? c : queries_until_ready-- > 0 ? 600 : 0;
}
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) {
    CALL(cuStreamWaitEvent, "(%p, %p, %u)", stream, event, flags)
    return 0;
}
int cuEventCreate(void **event, unsigned flags) { CALL(cuEventCreate, "(%u)", flags) *event = handle(); return 0; }
int cuEventDestroy_v2(void *event) { CALL(cuEventDestroy_v2, "(%p)", event) return 0; }
int cuEventRecord(void *event, void *stream) { CALL(cuEventRecord, "(%p, %p)", event, stream) return 0; }
int cuEventQuery(void *event) { (void)event; return queries_until_ready-- > 0 ? 600 : 0; }
int cuEventElapsedTime(float *milliseconds, void *start, void *end) {
    CALL(cuEventElapsedTime, "(%p, %p)", start, end)
    *milliseconds = 1.5f; return 0;
}

int cuStreamBeginCapture_v2(void *stream, int mode) {
    CALL(cuStreamBeginCapture_v2, "(%p, %d)", stream, mode)
    return 0;
}
int cuStreamEndCapture(void *stream, void **graph) {
    CALL(cuStreamEndCapture, "(%p)", stream)
    *graph = handle(); return 0;
}
int cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) {
    CALL(cuGraphInstantiateWithFlags, "(%p, %llu)", graph, flags)
    *executable = handle(); return 0;
}
int cuGraphLaunch(void *executable, void *stream) { CALL(cuGraphLaunch, "(%p, %p)", executable, stream) return 0; }
int cuGraphExecDestroy(void *executable) { CALL(cuGraphExecDestroy, "(%p)", executable) return 0; }
int cuGraphDestroy(void *graph) { CALL(cuGraphDestroy, "(%p)", graph) return 0; }

int cuModuleLoadData(void **module, const void *image) {
    CALL(cuModuleLoadData, "(%.4s)", (const char *)image)
    *module = handle(); return 0;
}
int cuModuleUnload(void *module) { CALL(cuModuleUnload, "(%p)", module) return 0; }
int cuModuleGetFunction(void **function, void *module, const char *name) {
    CALL(cuModuleGetFunction, "(%p, %s)", module, name)
    *function = handle(); return 0;
}
int cuFuncGetAttribute(int *value, int attribute, void *function) {
    (void)function;
    *value = attribute == 0 ? 384 : attribute == 1 ? 1024 : attribute == 4 ? 168 : 0;
    return code("cuFuncGetAttribute");
}
int cuFuncSetAttribute(void *function, int attribute, int value) {
    CALL(cuFuncSetAttribute, "(%p, %d, %d)", function, attribute, value)
    return 0;
}

struct attribute {
    int id;
    char pad[4];
    union { char bytes[64]; struct { unsigned x, y, z; } dim; void *pointer; } value;
};
struct config { unsigned grid[3], block[3], shared; void *stream; struct attribute *attributes; unsigned count; };

int cuLaunchKernelEx(const struct config *c, void *function, void **parameters, void **extra) {
    say("cuLaunchKernelEx(%p) grid %u %u %u block %u %u %u shared %u stream %p", function, c->grid[0], c->grid[1],
        c->grid[2], c->block[0], c->block[1], c->block[2], c->shared, c->stream);
    for (unsigned i = 0; i < c->count; i++)
        say(" [%d: %u %u %u]", c->attributes[i].id, c->attributes[i].value.dim.x, c->attributes[i].value.dim.y,
            c->attributes[i].value.dim.z);
    if (extra) say(" extra");
    for (int i = 0; i < parameter_count; i++) {
        say(" %d:%d:", i, (int)((uintptr_t)parameters[i] % 64));
        for (int k = 0; k < parameter_sizes[i]; k++) say("%02x", ((unsigned char *)parameters[i])[k]);
    }
    say("\n");
    return code("cuLaunchKernelEx");
}
int cuOccupancyMaxActiveBlocksPerMultiprocessor(int *count, void *function, int threads, size_t shared) {
    (void)function;
    CALL(cuOccupancyMaxActiveBlocksPerMultiprocessor, "(%d, %zu)", threads, shared)
    *count = 2;
    return 0;
}
int cuOccupancyMaxActiveClusters(int *count, void *function, const struct config *c) {
    (void)function;
    CALL(cuOccupancyMaxActiveClusters, "(cluster %u)", c->attributes[0].value.dim.x)
    *count = 66;
    return 0;
}

int cuTensorMapEncodeTiled(uint64_t *map, int type, unsigned rank, void *address, const uint64_t *dims,
                           const uint64_t *strides, const unsigned *box, const unsigned *steps, int interleave,
                           int swizzle, int promotion, int fill) {
    say("cuTensorMapEncodeTiled align %d type %d at %p", (int)((uintptr_t)map % 64), type, address);
    for (unsigned i = 0; i < rank; i++) say(" %llu", (unsigned long long)dims[i]);
    say(" strides");
    for (unsigned i = 0; i + 1 < rank; i++) say(" %llu", (unsigned long long)strides[i]);
    say(" box");
    for (unsigned i = 0; i < rank; i++) say(" %u", box[i]);
    say(" steps");
    for (unsigned i = 0; i < rank; i++) say(" %u", steps[i]);
    say(" interleave %d swizzle %d promotion %d fill %d\n", interleave, swizzle, promotion, fill);
    for (int i = 0; i < 16; i++) map[i] = 0x0101010101010101ull * (unsigned)(i + 1);
    return code("cuTensorMapEncodeTiled");
}
