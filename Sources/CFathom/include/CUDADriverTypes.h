// SPDX-License-Identifier: MIT
//
// The structures that the CUDA driver's launch call takes, laid out as cuda.h lays them out (CUDA 11.8 and later).
// They are declared here because the driver is loaded at run time and its headers need not be there, and because only
// C promises a layout.

#ifndef FATHOM_CUDA_DRIVER_TYPES_H
#define FATHOM_CUDA_DRIVER_TYPES_H

#include <stdint.h>

/// `CUlaunchAttribute`: an identifier, padding to 8 bytes, and a union of 64 bytes of which Fathom uses the
/// members that begin with one to three 32-bit integers.
typedef struct {
    _Alignas(8) uint32_t identifier;
    uint32_t padding;
    uint32_t x, y, z;
    uint32_t rest[13];
} fathom_cuda_launch_attribute;

/// `CUlaunchConfig`.
typedef struct {
    uint32_t grid_x, grid_y, grid_z;
    uint32_t block_x, block_y, block_z;
    uint32_t shared_bytes;
    void *stream;
    fathom_cuda_launch_attribute *attributes;
    uint32_t attribute_count;
} fathom_cuda_launch_config;

_Static_assert(sizeof(fathom_cuda_launch_attribute) == 72, "CUlaunchAttribute has 72 bytes");
_Static_assert(sizeof(void *) != 8 || sizeof(fathom_cuda_launch_config) == 56, "CUlaunchConfig has 56 bytes");

#endif
